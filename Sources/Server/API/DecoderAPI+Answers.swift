import Foundation
import HTTPTypes
import Hummingbird
import Logging
import LorikeetRuntime
import NIOCore
import Synchronization

extension DecoderAPI {
    /// What a route has made of a request: what to generate, and how to write it.
    struct Work<Format: CompletionFormat>: Sendable {
        var requests: [EngineRequest]
        var answersPerPrompt: Int
        var streams: Bool
        var includesUsage: Bool
        var adapter: SelectedAdapter<EngineAdapter>?
        var identity: CompletionIdentity
        var format: Format
    }

    /// Generates, and answers with all at once or piece by piece.
    ///
    /// - Throws: `APIError`, also for a server that takes no more requests: a stream begins only once all
    ///   of it is accepted.
    func answer<Format: CompletionFormat>(
        _ work: Work<Format>, holding ticket: AdmissionTicket, _ context: APIContext
    ) async throws -> Response {
        try ticket.extend(to: work.requests.count)
        let generations = try Generations(
            work.requests, on: engine,
            limits: GenerationLimits(
                time: api.options.requestTime, pause: work.streams ? api.options.pauseTime : nil),
            holding: ticket,
            observe: observer(
                of: work.requests.count, model: work.identity.model,
                adapter: work.adapter?.name ?? "", context.logger))
        let token = api.connections.add(context.channel) { generations.cancel() }
        guard work.streams else {
            defer { api.connections.remove(token) }
            return .json(try await whole(work, generations))
        }
        return Response(
            status: .ok,
            headers: [
                .contentType: "text/event-stream; charset=utf-8", .cacheControl: "no-cache",
            ],
            body: ResponseBody { [self] writer in
                defer { api.connections.remove(token) }
                try await stream(work, generations, to: &writer)
                try await writer.finish(nil)
            })
    }

    private func whole<Format: CompletionFormat>(
        _ work: Work<Format>, _ generations: Generations
    ) async throws -> JSON {
        var answers = work.requests.map { _ in Answer(endTokens: work.hiddenTokens(of: model)) }
        for try await step in generations.steps {
            guard case .event(let index, let event) = step else { continue }
            _ = answers[index].add(event)
        }
        let results = answers.compactMap(\.result)
        var object = work.identity.object(
            work.format.wholeKind,
            choices: answers.enumerated().map { work.format.choice($0, $1) })
        object["usage"] = Usage(results, answersPerPrompt: work.answersPerPrompt).json
        object["timings"] = results.timings
        return object
    }

    private func stream<Format: CompletionFormat>(
        _ work: Work<Format>, _ generations: Generations, to writer: inout any ResponseBodyWriter
    ) async throws {
        var format = work.format
        var answers = work.requests.map { _ in Answer(endTokens: work.hiddenTokens(of: model)) }
        func piece(_ choices: [JSON]) -> JSON {
            var object = work.identity.object(format.pieceKind, choices: choices)
            if work.includesUsage { object["usage"] = .null }
            return object
        }
        do {
            let starts = answers.indices.compactMap { format.start($0) }
            if !starts.isEmpty {
                try await writer.write(contentsOf: starts.map { ByteBuffer(event: piece([$0])) })
            }
            for try await step in generations.steps {
                guard case .event(let index, let event) = step else {
                    try await writer.write(ByteBuffer(string: ": ping\n\n"))
                    continue
                }
                if case .prompt(let first, let rest) = event,
                    let choice = format.prompt(index, first: first, rest: rest)
                {
                    try await writer.write(ByteBuffer(event: piece([choice])))
                }
                let (text, choice) = answers[index].add(event)
                let choices = format.logProbabilities == nil ? [] : [choice].compactMap(\.self)
                if !text.isEmpty || !choices.isEmpty {
                    for choice in format.pieces(index, text: text, choices) {
                        try await writer.write(ByteBuffer(event: piece([choice])))
                    }
                }
                guard let reason = answers[index].result?.reason else { continue }
                let ends = format.ends(index, reason: reason)
                for choice in ends.dropLast() {
                    try await writer.write(ByteBuffer(event: piece([choice])))
                }
                var last = piece(ends.suffix(1))
                let results = answers.compactMap(\.result)
                if results.count == answers.count { last["timings"] = results.timings }
                try await writer.write(ByteBuffer(event: last))
            }
            if work.includesUsage {
                var last = piece([])
                last["usage"] =
                    Usage(answers.compactMap(\.result), answersPerPrompt: work.answersPerPrompt)
                    .json
                try await writer.write(ByteBuffer(event: last))
            }
        } catch let error as APIError {
            // The status is sent already: openai-python raises for any event with an "error".
            try await writer.write(ByteBuffer(event: error.json))
        }
        try await writer.write(ByteBuffer(string: "data: [DONE]\n\n"))
    }

    /// Counts and logs what happens to answers.
    private func observer(
        of count: Int, model: String, adapter: String, _ logger: Logger
    ) -> @Sendable (Int, EngineEvent) -> Void {
        let start = ContinuousClock().now
        let begun = FirstTokens(count)
        return { [metrics = api.metrics] index, event in
            switch event {
            case .token:
                if begun.isFirst(index) {
                    metrics.beganAnswer(after: ContinuousClock().now - start)
                }
            case .finished(let result):
                let time = ContinuousClock().now - start
                metrics.finished(result, adapter: adapter, after: time)
                logger.info(
                    "answer",
                    metadata: [
                        "model": .string(model), "reason": .string(result.reason),
                        "prompt_tokens": .stringConvertible(result.promptTokens),
                        "completion_tokens": .stringConvertible(result.completionTokens),
                        "seconds": .string(String(format: "%.3f", time.seconds)),
                    ])
            case .started, .prompt, .failed: break
            }
        }
    }
}

/// Which answers have begun.
private final class FirstTokens: Sendable {
    private let begun: Mutex<[Bool]>

    init(_ count: Int) { begun = Mutex(Array(repeating: false, count: count)) }

    /// Whether this is the answer's first token.
    func isFirst(_ index: Int) -> Bool {
        begun.withLock { begun in
            defer { begun[index] = true }
            return !begun[index]
        }
    }
}

extension DecoderAPI.Work {
    /// The tokens that end an answer and do not show; none where the answer goes on past them.
    fileprivate func hiddenTokens(of model: LanguageModel) -> Set<Int32> {
        requests.first?.ignoresEndTokens ?? false ? [] : model.endTokens
    }
}

extension ByteBuffer {
    /// A server-sent event.
    fileprivate init(event: JSON) {
        self.init(string: "data: \(event.text())\n\n")
    }
}
