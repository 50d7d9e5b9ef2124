import Foundation
import HummingbirdTesting
import Logging
import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime
import LorikeetServer
import TestSupport
import Testing

/// A server of a tiny encoder that reads letters, and of adapters with random factors and heads.
final class TestEncoderServer: Sendable {
    let folder: String
    let encoder: TextEncoder
    let batcher: EncoderBatcher
    let server: APIServer

    /// Loads `model`, `bert_cls` or `deberta_v3_cls`, and the adapters of these names with these labels, none for
    /// one without a head; `prepare` changes the model's folder, `change` the server's options.
    init(
        _ model: String = "bert_cls", adapters: KeyValuePairs<String, [String]> = [:],
        batcher options: EncoderBatcherOptions = EncoderBatcherOptions(),
        prepare: (_ folder: String) throws -> Void = { _ in },
        change: (inout ServerOptions) throws -> Void = { _ in }
    ) throws {
        folder =
            FileManager.default.temporaryDirectory.appending(path: "lorikeet-\(UUID().uuidString)")
            .path(percentEncoded: false)
        try FileManager.default.createDirectory(
            atPath: folder + "/adapters", withIntermediateDirectories: true)
        try TinyTextEncoder.write(model, to: folder + "/model")
        try prepare(folder + "/model")
        encoder = try TextEncoder(
            path: folder + "/model", compute: Compute(threads: 1, precision: .fp32))
        let registry = RegistryAdapters.registry(encoder)
        for (index, (name, labels)) in adapters.enumerated() {
            let path = "\(folder)/adapters/\(name)"
            try Self.writeAdapter(to: path, labels: labels, seed: UInt64(index), encoder)
            try registry.load(name: name, path: path)
        }
        let batcher = EncoderBatcher(encoder, options: options)
        self.batcher = batcher
        let served = try ServedModel(
            batcher: batcher,
            adapters: RegistryAdapters<EncoderAdapter>(
                registry, roots: AllowedRoots([folder + "/adapters"])),
            baseDigest: BaseDigest.of(encoder.checkpoint))
        var serverOptions = ServerOptions()
        serverOptions.modelName = "tiny"
        serverOptions.port = 0
        try change(&serverOptions)
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        server = try APIServer(options: serverOptions, logger: logger) { served }
        try server.open()
    }

    deinit { try? FileManager.default.removeItem(atPath: folder) }

    /// Writes a PEFT folder of rank 2 at every query and value projection, with a head for `labels`: a number's
    /// for one, no head for none.
    static func writeAdapter(
        to path: String, labels: [String], seed: UInt64, _ encoder: TextEncoder
    ) throws {
        let model = encoder.model.configuration
        let targets = model.modules.entries.filter {
            $0.module.path.contains("query") || $0.module.path.contains("value")
        }
        var deltas: [ModulePath: LowRankDelta] = [:]
        for layer in 0..<model.layerCount {
            for (index, entry) in targets.enumerated() {
                let seed = 1000 * seed + UInt64(10 * layer + 2 * index)
                deltas[ModulePath(layer: layer, module: entry.module)] = LowRankDelta(
                    a: noise(2 * entry.inputs, seed: seed),
                    b: noise(2 * entry.outputs, seed: seed + 1), rank: 2, scale: 0.1)
            }
        }
        var configuration = AdapterConfiguration(
            rank: 2, alpha: 0.2, targetModules: .list(targets.map(\.module.name)))
        var tensors: [String: SavedTensor] = [:]
        if !labels.isEmpty {
            configuration.taskType = "SEQ_CLS"
            configuration.modulesToSave = ["classifier", "pooler"]
            for (index, tensor) in model.headTensors(labels: labels.count).enumerated() {
                tensors[tensor.name] = SavedTensor(
                    shape: tensor.shape,
                    values: noise(
                        tensor.shape.reduce(1, *), seed: 1000 * seed + 500 + UInt64(index)))
            }
        }
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        try Adapters.writePeftFiles(
            into: path, configuration: configuration, deltas: deltas, tensors: tensors)
        guard !labels.isEmpty else { return }
        let kind = labels.count == 1 ? SequenceTask.Kind.regression : .classification
        try SequenceTask(kind: kind, labels: labels).json.data().write(
            to: URL(filePath: path + "/task.json"))
    }

    /// The classifier that the library makes of an adapter; of the base for nil.
    func classifier(_ adapter: String?) throws -> SequenceClassifier {
        try SequenceClassifier(encoder, adapter: adapter.map { "\(folder)/adapters/\($0)" })
    }

    /// Runs `body` with a client of the server's routes.
    func withClient<Value: Sendable>(
        _ setup: TestingSetup = .router, _ body: @Sendable (TestClient) async throws -> Value
    ) async throws -> Value {
        try await server.application().test(setup) { try await body(TestClient(client: $0)) }
    }
}
