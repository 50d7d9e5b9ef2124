import Foundation
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import Logging
import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime
import LorikeetServer
import NIOCore
import TestSupport
import Testing

/// A server of the tiny model, whose tokens are bytes, and of adapters with random factors.
final class TestServer: Sendable {
    /// A template that refuses what the tests call rude.
    static let template = """
        {%- for m in messages -%}
        {%- if m.content == 'rude' %}{{ raise_exception('be polite') }}{% endif -%}
        <{{ m.role }}>{{ m.content }}
        {%- endfor -%}
        {%- if add_generation_prompt %}<assistant>{% endif -%}
        """

    let folder: String
    let engine: Engine
    let server: APIServer

    /// Loads the model and starts the engine: `adapters` are the names of those to load, `change` changes the
    /// server's options; without `isOpen` the server goes on saying that it loads.
    init(
        adapters: [String] = [], engine options: EngineOptions = EngineOptions(),
        generationConfiguration: JSON? = nil, isOpen: Bool = true,
        change: (inout ServerOptions) throws -> Void = { _ in }
    ) throws {
        folder =
            FileManager.default.temporaryDirectory.appending(path: "lorikeet-\(UUID().uuidString)")
            .path(percentEncoded: false)
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try TinyLanguageModel.write(to: folder + "/model", chatTemplate: Self.template)
        if let generationConfiguration {
            try generationConfiguration.data().write(
                to: URL(filePath: folder + "/model/generation_config.json"))
        }
        let model = try LanguageModel(
            path: folder + "/model", compute: Compute(threads: 1, precision: .fp32))
        let registry = RegistryAdapters.registry(model)
        try FileManager.default.createDirectory(
            atPath: folder + "/adapters", withIntermediateDirectories: true)
        for (index, name) in adapters.enumerated() {
            try Self.writeAdapter(to: folder + "/adapters/" + name, seed: UInt64(index), model)
            try registry.load(name: name, path: folder + "/adapters/" + name)
        }
        let engine = Engine(model, options: options)
        self.engine = engine
        let served = try ServedModel(
            engine: engine,
            adapters: RegistryAdapters<EngineAdapter>(
                registry, roots: AllowedRoots([folder + "/adapters"])),
            baseDigest: model.baseDigest())
        var serverOptions = ServerOptions()
        serverOptions.modelName = "tiny"
        serverOptions.version = "1"
        serverOptions.port = 0
        try change(&serverOptions)
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        server = try APIServer(options: serverOptions, logger: logger) { served }
        if isOpen { try server.open() }
    }

    deinit { try? FileManager.default.removeItem(atPath: folder) }

    /// Writes a PEFT folder of rank 2 at every query and value projection.
    static func writeAdapter(
        to path: String, seed: UInt64, _ model: LanguageModel, width: Int? = nil
    ) throws {
        var generator = SeededGenerator(seed: seed + 100)
        let configuration = model.model.configuration
        let hidden = width ?? configuration.hiddenSize
        var deltas: [ModulePath: LowRankDelta] = [:]
        for layer in 0..<configuration.layerCount {
            for name in ["q_proj", "v_proj"] {
                let path = try #require(
                    ModulePath("model.layers.\(layer).self_attn.\(name)"))
                func factor() -> Buffer<Float> {
                    Buffer((0..<2 * hidden).map { _ in Float(generator.normal()) * 0.5 })
                }
                deltas[path] = LowRankDelta(a: factor(), b: factor(), rank: 2, scale: 1)
            }
        }
        try Adapters.writePeftFolder(
            at: path,
            configuration: AdapterConfiguration(
                rank: 2, alpha: 2, targetModules: .list(["q_proj", "v_proj"])), deltas: deltas)
    }

    /// Runs `body` with a client of the server's routes.
    func withClient<Value: Sendable>(
        _ setup: TestingSetup = .router, _ body: @Sendable (TestClient) async throws -> Value
    ) async throws -> Value {
        try await server.application().test(setup) { try await body(TestClient(client: $0)) }
    }

    /// The engine's answer to the same request, without the API.
    func reference(_ request: EngineRequest) async throws -> (text: String, tokens: [Int32]) {
        var (text, tokens) = ("", [Int32]())
        for await event in try engine.submit(request) {
            switch event {
            case .token(let choice, let piece):
                tokens.append(choice.token)
                text += piece
            case .finished(let result): text += result.text
            case .started, .prompt, .failed: break
            }
        }
        return (text, tokens)
    }
}

/// Asks a server's routes.
struct TestClient: Sendable {
    let client: any TestClientProtocol

    /// A GET.
    func get(_ path: String, headers: HTTPFields = [:]) async throws -> TestAnswer {
        TestAnswer(try await client.execute(uri: path, method: .get, headers: headers))
    }

    /// A browser's question before a request.
    func options(_ path: String, headers: HTTPFields) async throws -> TestAnswer {
        TestAnswer(try await client.execute(uri: path, method: .options, headers: headers))
    }

    /// A POST of JSON.
    func post(
        _ path: String, _ body: JSON, headers: HTTPFields = [:]
    ) async throws -> TestAnswer {
        try await post(path, body.text(), headers: headers)
    }

    /// A POST of any bytes.
    func post(_ path: String, bytes: [UInt8]) async throws -> TestAnswer {
        TestAnswer(
            try await client.execute(uri: path, method: .post, body: ByteBuffer(bytes: bytes)))
    }

    /// A POST of any text.
    func post(
        _ path: String, _ body: String, headers: HTTPFields = [:]
    ) async throws -> TestAnswer {
        TestAnswer(
            try await client.execute(
                uri: path, method: .post, headers: headers, body: ByteBuffer(string: body)))
    }

    /// A chat with one message; `more` is added to the request.
    func chat(_ text: String = "hello", _ more: JSON = [:]) async throws -> TestAnswer {
        var body: JSON = [
            "messages": [["role": "user", "content": .string(text)]], "max_tokens": 8,
            "temperature": 0,
        ]
        for (key, value) in more.object ?? [:] { body[key] = value }
        return try await post("/v1/chat/completions", body)
    }
}

/// What a server answered.
struct TestAnswer: Sendable {
    let status: Int
    let headers: HTTPFields
    let text: String

    init(_ response: TestResponse) {
        status = response.status.code
        headers = response.headers
        text = String(buffer: response.body)
    }

    /// The body as one JSON document.
    var json: JSON {
        get throws { try JSON(parsing: text, source: "answer") }
    }

    /// The data of server-sent events, without the comments between them.
    var events: [String] {
        text.split(separator: "\n").filter { $0.hasPrefix("data: ") }.map {
            String($0.dropFirst(6))
        }
    }

    /// The events but the last, which must be `[DONE]`.
    func chunks() throws -> [JSON] {
        #expect(events.last == "[DONE]")
        return try events.dropLast().map { try JSON(parsing: $0, source: "event") }
    }

    /// Checks that this is an error in OpenAI's shape.
    func expectError(
        _ status: Int, parameter: String? = nil, code: String? = nil,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        #expect(self.status == status, "\(text)", sourceLocation: sourceLocation)
        let error = try json["error"]
        #expect(
            error?["message"]?.string?.isEmpty == false, "\(text)", sourceLocation: sourceLocation)
        #expect(error?["type"]?.string != nil, "\(text)", sourceLocation: sourceLocation)
        #expect(error?["param"]?.string == parameter, "\(text)", sourceLocation: sourceLocation)
        if let code {
            #expect(error?["code"]?.string == code, "\(text)", sourceLocation: sourceLocation)
        }
    }
}
