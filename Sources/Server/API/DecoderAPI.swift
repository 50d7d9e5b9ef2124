import Crypto
import Foundation
import HTTPTypes
import Hummingbird
import LorikeetRuntime

/// The routes of a decoder, which generates: its engine schedules the tokens of all answers.
struct DecoderAPI: Sendable {
    let api: API
    let engine: Engine
    let adapters: any ServedAdapters<EngineAdapter>
    let grammars: AnswerGrammars
    /// How tokens are chosen where a request says nothing.
    let samplingDefaults: SamplingParameters
    /// The most engine requests that one HTTP request may stand for.
    let answerLimit: Int

    /// - Throws: `LorikeetError` for a generation_config.json that cannot be read.
    init(_ api: API, _ engine: Engine, _ adapters: any ServedAdapters<EngineAdapter>) throws {
        self.api = api
        self.engine = engine
        self.adapters = adapters
        grammars = AnswerGrammars(engine.model)
        samplingDefaults = try SamplingParameters(defaultsOf: engine.model.checkpoint)
        answerLimit = min(128, engine.places)
    }

    /// Adds the routes to `router`.
    func add(to router: Router<APIContext>) {
        router.post("v1/chat/completions", use: chatCompletions)
        router.post("v1/completions", use: completions)
        router.post("v1/embeddings", use: embeddings)
        for path in EncoderAPI.classifyPaths {
            router.refuse(
                path, "This model is a decoder, which has no classes: use /v1/completions.")
        }
    }

    var model: LanguageModel { engine.model }

    /// The longest prompt that a request may have, in tokens.
    private var promptLimit: Int { min(api.options.promptLimit ?? .max, engine.contextLength - 1) }

    /// What an answer depends on beside its request.
    func fingerprint(_ adapter: EngineAdapter?) -> String {
        let digest: String
        switch adapter?.key {
        case nil: digest = "base"
        case let key? where key.utf8.count == 64: digest = String(key.prefix(12))
        // A blend's key names several digests.
        case let key?:
            digest = SHA256.hash(data: Data(key.utf8)).prefix(6)
                .map { String(format: "%02x", $0) }.joined()
        }
        return "lorikeet-\(api.options.version)-\(api.baseDigest.prefix(12))-\(digest)"
    }

    /// - Throws: `APIError` for a prompt that is empty or leaves no room for an answer.
    func check(_ prompt: [Int32], parameter: String) throws {
        guard !prompt.isEmpty else {
            throw APIError.invalid(parameter, "\(parameter): the prompt has no tokens.")
        }
        guard prompt.count <= promptLimit else {
            throw APIError(
                .badRequest,
                "The prompt has \(prompt.count) tokens; this server takes at most \(promptLimit).",
                parameter: parameter, code: "context_length_exceeded")
        }
        do {
            try model.model.check(prompt)
        } catch let error as LorikeetError {
            throw APIError.invalid(parameter, error.description)
        }
    }
}

extension SamplingParameters {
    /// OpenAI's defaults, or what the checkpoint's generation_config.json says instead.
    ///
    /// - Throws: `.malformed` for a file that is no JSON.
    init(defaultsOf checkpoint: any Checkpoint) throws {
        self.init()
        temperature = 1
        guard let data = try checkpoint.file("generation_config.json") else { return }
        let source = checkpoint.path + "/generation_config.json"
        let file = try data.withUnsafeBytes { try JSON(parsing: $0, source: source) }
        func number(_ key: String, _ range: ClosedRange<Double>) -> Float? {
            file[key]?.double.flatMap { range.contains($0) ? Float($0) : nil }
        }
        temperature = number("temperature", 0...2) ?? temperature
        topP = number("top_p", 0.001...1) ?? topP
        topK = file["top_k"]?.int.map { max(0, $0) } ?? topK
        minP = number("min_p", 0...1) ?? minP
        repetitionPenalty = number("repetition_penalty", 0.01...100) ?? repetitionPenalty
    }
}
