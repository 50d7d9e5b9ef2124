import LorikeetRuntime

/// OpenAI's chat: an answer is a message of text and calls of tools.
struct ChatFormat: CompletionFormat {
    /// Writes log probabilities; nil where they were not asked for.
    let logProbabilities: LogProbabilities?
    /// How the model writes calls; nil where there are no tools, and all is text.
    private let calls: ToolCallFormat?
    // Of each answer that has begun.
    private var parsers: [Int: ToolCallParser] = [:]

    /// A format of answers that may call tools as `calls` says.
    init(logProbabilities: LogProbabilities?, calls: ToolCallFormat?) {
        self.logProbabilities = logProbabilities
        self.calls = calls
    }

    var wholeKind: String { "chat.completion" }
    var pieceKind: String { "chat.completion.chunk" }

    // MARK: A whole answer

    func choice(_ index: Int, _ answer: Answer) -> JSON {
        let reason = answer.result?.reason ?? "stop"
        var message: JSON = [
            "role": "assistant", "content": .string(answer.text), "refusal": nil,
        ]
        var hasCalls = false
        if let calls {
            var parser = ToolCallParser(calls)
            let found = Self.calls(in: parser.append(answer.text) + parser.finish())
            hasCalls = !found.calls.isEmpty
            if hasCalls {
                message["content"] = found.text.isEmpty ? .null : .string(found.text)
                message["tool_calls"] = .array(found.calls)
            }
        }
        return [
            "index": .int(index), "message": message,
            "logprobs": logProbabilities?.chat(answer.choices) ?? .null,
            "finish_reason": .string(Self.reason(reason, hasCalls: hasCalls)),
        ]
    }

    private static func calls(
        in pieces: [ToolCallParser.Piece]
    ) -> (text: String, calls: [JSON]) {
        var (text, names, arguments) = ("", [String](), [String]())
        for piece in pieces {
            switch piece {
            case .content(let more): text += more
            case .call(_, let name):
                names.append(name)
                arguments.append("")
            case .arguments(let call, let more): arguments[call] += more
            }
        }
        let calls = zip(names, arguments).map { name, arguments -> JSON in
            [
                "id": .string(identity()), "type": "function",
                "function": ["name": .string(name), "arguments": .string(arguments)],
            ]
        }
        return (text, calls)
    }

    // A call that was made ends the answer; one that was cut off has the length's reason.
    private static func reason(_ reason: String, hasCalls: Bool) -> String {
        hasCalls && reason == "stop" ? "tool_calls" : reason
    }

    private static func identity() -> String {
        "call_" + String(UInt64.random(in: .min ... .max), radix: 36)
    }

    // MARK: Piece by piece

    func start(_ index: Int) -> JSON? {
        delta(index, ["role": "assistant", "content": ""])
    }

    mutating func pieces(_ index: Int, text: String, _ choices: [Sampler.Choice]) -> [JSON] {
        let logs = logProbabilities?.chat(choices) ?? .null
        guard let calls else { return [delta(index, ["content": .string(text)], logs)] }
        var deltas = parsers[index, default: ToolCallParser(calls)].append(text).map(Self.delta)
        // What a token says may be held back; its probability is not.
        if deltas.isEmpty, !choices.isEmpty { deltas = [["content": ""]] }
        return deltas.enumerated().map { delta(index, $1, $0 == 0 ? logs : .null) }
    }

    mutating func ends(_ index: Int, reason: String) -> [JSON] {
        let rest = (parsers[index]?.finish() ?? []).map(Self.delta)
        let hasCalls = parsers[index]?.callCount ?? 0 > 0
        return rest.map { delta(index, $0) } + [
            delta(
                index, .object([:]), reason: .string(Self.reason(reason, hasCalls: hasCalls)))
        ]
    }

    private static func delta(_ piece: ToolCallParser.Piece) -> JSON {
        switch piece {
        case .content(let text): ["content": .string(text)]
        case .call(let call, let name):
            [
                "tool_calls": [
                    [
                        "index": .int(call), "id": .string(identity()), "type": "function",
                        "function": ["name": .string(name), "arguments": ""],
                    ]
                ]
            ]
        case .arguments(let call, let text):
            [
                "tool_calls": [
                    ["index": .int(call), "function": ["arguments": .string(text)]]
                ]
            ]
        }
    }

    private func delta(
        _ index: Int, _ delta: JSON, _ logProbabilities: JSON = .null, reason: JSON = .null
    ) -> JSON {
        [
            "index": .int(index), "delta": delta, "logprobs": logProbabilities,
            "finish_reason": reason,
        ]
    }
}
