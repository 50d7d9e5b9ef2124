import Crypto
import Foundation
import HTTPTypes
import Hummingbird
import LorikeetAdapters
import LorikeetRuntime
import NIOCore

/// The routes' common ground: the engine, the adapters, and what is allowed.
final class API: Sendable {
    let engine: Engine
    let adapters: any ServedAdapters
    let options: ServerOptions
    let metrics: ServerMetrics
    let admission: Admission
    let connections: ConnectionWatch
    let page: Page
    let grammars: AnswerGrammars
    /// How tokens are chosen where a request says nothing.
    let samplingDefaults: SamplingParameters
    /// SHA-256 of the base.
    let baseDigest: String
    /// When the server started, in seconds since 1970.
    let started = Int(Date().timeIntervalSince1970)
    /// Where prompts are written and tokenized.
    private let preparation = DispatchQueue(label: "preparation")

    /// The most engine requests that one HTTP request may stand for.
    let answerLimit: Int

    init(
        _ served: ServedModel, options: ServerOptions, metrics: ServerMetrics,
        connections: ConnectionWatch
    ) throws {
        engine = served.engine
        adapters = served.adapters
        baseDigest = served.baseDigest
        self.options = options
        self.metrics = metrics
        self.connections = connections
        let places = engine.options.runningLimit + engine.options.waitingLimit
        admission = Admission(limit: places)
        answerLimit = min(128, places)
        page = Page()
        grammars = AnswerGrammars(engine.model)
        samplingDefaults = try SamplingParameters(defaultsOf: engine.model.checkpoint)
    }

    var model: LanguageModel { engine.model }

    /// The longest prompt that a request may have, in tokens.
    var promptLimit: Int { min(options.promptLimit ?? .max, engine.contextLength - 1) }

    /// The body of a request, as fields.
    func fields(of request: Request) async throws -> RequestFields {
        let limit = options.bodyLimit
        if let length = request.headers[.contentLength].flatMap({ Int($0) }), length > limit {
            throw NIOTooManyBytesError(maxBytes: limit)
        }
        let (body, time) = (request.body, options.bodyTime)
        let buffer = try await withThrowingTaskGroup(of: ByteBuffer.self) { group in
            group.addTask { try await body.collect(upTo: limit) }
            group.addTask {
                try await Task.sleep(for: time)
                throw APIError(
                    .requestTimeout, "The request's body did not arrive in time.",
                    type: "timeout_error", code: "timeout")
            }
            defer { group.cancelAll() }
            guard let first = try await group.next() else { throw CancellationError() }
            return first
        }
        // Long ones would keep other requests from a thread.
        guard buffer.readableBytes > 1 << 16 else { return try RequestFields(parsing: buffer) }
        return try await prepare { try RequestFields(parsing: buffer) }
    }

    /// Does what needs the processor for long, away from the threads that answer.
    func prepare<Value: Sendable>(
        _ body: @escaping @Sendable () throws -> Value
    ) async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            preparation.async { continuation.resume(with: Result(catching: body)) }
        }
    }

    /// The adapter that answers; nil for the base.
    ///
    /// - Throws: `APIError` for a name that there is not or that the key does not allow.
    func adapter(
        for selection: ModelSelection, _ context: APIContext
    ) async throws -> SelectedAdapter? {
        let name = selection.name == options.modelName ? nil : selection.name
        guard selection.blend.isEmpty else {
            guard name == nil else {
                throw APIError.invalid(
                    "adapters",
                    "adapters goes with \"model\": \"\(options.modelName)\" or no model.")
            }
            return try await find("adapters") {
                for part in selection.blend { try context.requireAccess(to: part.adapter.name) }
                return try await adapters.blend(selection.blend)
            }
        }
        try context.requireAccess(to: name ?? options.modelName)
        guard let name else { return nil }
        return try await find("model") { try await adapters.adapter(named: name) }
    }

    private func find(
        _ parameter: String, _ body: () async throws -> SelectedAdapter
    ) async throws -> SelectedAdapter {
        do {
            return try await body()
        } catch let error as LorikeetError {
            // A name that no adapter can have is unknown as well.
            guard
                error.code == .notFound || (parameter == "model" && error.code == .invalidArgument)
            else {
                var answer = APIError(error)
                answer.parameter = parameter
                throw answer
            }
            let names = ([options.modelName] + adapters.list.map(\.name)).joined(separator: ", ")
            throw APIError(
                .notFound, "\(error.description) There are \(names).", parameter: parameter,
                code: "model_not_found")
        }
    }

    /// What an answer depends on beside its request.
    func fingerprint(_ adapter: SelectedAdapter?) -> String {
        let digest: String
        switch adapter?.engine.key {
        case nil: digest = "base"
        case let key? where key.utf8.count == 64: digest = String(key.prefix(12))
        // A blend's key names several digests.
        case let key?:
            digest = SHA256.hash(data: Data(key.utf8)).prefix(6)
                .map { String(format: "%02x", $0) }.joined()
        }
        return "lorikeet-\(options.version)-\(baseDigest.prefix(12))-\(digest)"
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

extension RequestFields {
    fileprivate init(parsing buffer: ByteBuffer) throws {
        self = try buffer.withUnsafeReadableBytes { try RequestFields(parsing: $0) }
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
