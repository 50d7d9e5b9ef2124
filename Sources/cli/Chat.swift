import ArgumentParser
import Foundation
import LorikeetAdapters
import LorikeetRuntime

/// `lorikeet chat --model DIR`.
struct Chat: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Talk to a model, swapping adapters as you go.",
        discussion: """
            /adapter NAME  answer with this adapter from now on; /adapter none: with the base
            /adapters      the adapters that are loaded
            /load PATH     load an adapter (a PEFT folder or a bundle)
            /reset         forget the conversation
            /exit          leave
            With --json every answer is a line with one JSON object.
            """)

    @Option(
        name: [.short, .long], help: "A Hugging Face folder, quantized or not, or a GGUF file.")
    var model: String

    @Option(name: [.short, .long], help: "An adapter to load at the start; the last one answers.")
    var adapter: [String] = []

    @Option(help: "What the system says first.")
    var system: String?

    @OptionGroup var sampling: SamplingOptions
    @OptionGroup var precision: PrecisionOptions
    @OptionGroup var common: CommonOptions

    func run() throws {
        let model = try LanguageModel(path: model, compute: common.compute(precision))
        var session = ChatSession(model: model, options: self)
        for path in adapter { try session.load(path) }
        Interrupt.listen()
        while let line = session.readLine() {
            do {
                guard try session.handle(line) else { break }
            } catch let error as LorikeetError {
                // A typing mistake must not end a conversation.
                Terminal.note(error.description)
            }
        }
    }
}

/// A conversation: what was said, which adapters are loaded, which one answers.
private struct ChatSession {
    private let model: LanguageModel
    private let options: Chat
    private let generator: TextGenerator
    private let registry: AdapterRegistry<any LowRankDeltas>
    private var selected: String?
    private var messages: [ChatMessage] = []

    init(model: LanguageModel, options: Chat) {
        self.model = model
        self.options = options
        generator = TextGenerator(model)
        registry = AdapterRegistry(model)
        reset()
    }

    func readLine() -> String? {
        if Terminal.isInteractive { Terminal.noteText("\(selected ?? "base")> ") }
        return Swift.readLine()
    }

    /// Handles one line; returns false when it ends the conversation.
    mutating func handle(_ line: String) throws -> Bool {
        let words = line.split(separator: " ", maxSplits: 1).map(String.init)
        guard let first = words.first else { return true }
        let argument = words.count > 1 ? words[1].trimmingCharacters(in: .whitespaces) : nil
        switch (first, argument) {
        case ("/exit", _), ("/quit", _): return false
        case ("/reset", _): reset()
        case ("/adapters", _): try list()
        case ("/load", let path?): try load(path)
        case ("/adapter", let name?): try select(name)
        case (let command, _) where command.hasPrefix("/"):
            Terminal.note("/adapter NAME|none  /adapters  /load PATH  /reset  /exit")
        default: try answer(line)
        }
        return true
    }

    mutating func load(_ path: String) throws {
        let adapter = try registry.load(name: Adapters.name(of: path), path: path)
        selected = adapter.name
        Terminal.note("\(adapter.name): \(adapter.line)")
    }

    private mutating func select(_ name: String) throws {
        guard name != "none", name != "base" else {
            selected = nil
            return
        }
        guard registry.names.contains(name) else {
            let names = registry.names.joined(separator: ", ")
            throw LorikeetError(
                .notFound, name, "no adapter of this name is loaded",
                expected: names.isEmpty ? nil : "one of \(names)",
                advice: "Load it with /load PATH.")
        }
        selected = name
    }

    private func list() throws {
        Terminal.note((selected == nil ? "* " : "  ") + "base")
        for name in registry.names {
            let line = try registry.adapter(name)?.line ?? ""
            Terminal.note((name == selected ? "* " : "  ") + "\(name): \(line)")
        }
    }

    private mutating func reset() {
        messages = options.system.map { [ChatMessage(role: "system", content: $0)] } ?? []
    }

    private mutating func answer(_ line: String) throws {
        let conversation = messages + [ChatMessage(role: "user", content: line)]
        let request = options.sampling.request(prompt: try model.chatPrompt(conversation))
        Interrupt.listen()
        let generation = try generator.generate(request, adapter: registry.adapter(selected)) {
            if !options.common.json { Terminal.write($0) }
            return !Interrupt.isRequested
        }
        messages = conversation + [ChatMessage(role: "assistant", content: generation.text)]
        if options.common.json {
            Terminal.print([
                "adapter": selected.map(JSON.string) ?? .null, "text": .string(generation.text),
                "prompt_tokens": .int(generation.promptTokens),
                "completion_tokens": .int(generation.choices.count),
                "finish_reason": .string(generation.finishReason.rawValue),
            ])
        } else {
            Terminal.print("")
        }
    }
}
