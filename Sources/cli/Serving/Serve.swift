import ArgumentParser
import Foundation
import Logging
import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime
import LorikeetServer
import Synchronization

/// `lorikeet serve --model DIR [--adapter NAME=PATH]…`.
struct Serve: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Serve a model and its adapters over OpenAI's API.",
        discussion: """
            The base and every adapter are models by name. A decoder answers chats and completions, an encoder \
            classifies texts and makes vectors of them. Without --api-keys everybody who reaches the address may \
            ask. SIGTERM and Ctrl-C let running answers end; a second one cuts them off.
            With --json one line on standard output tells the address once clients can connect.
            """)

    @Option(
        name: [.short, .long], help: "A Hugging Face folder, quantized or not, or a GGUF file.")
    var model: String

    @Option(help: "What requests call the base; default: the last part of --model.")
    var modelName: String?

    @Option(
        name: [.short, .long],
        help: "An adapter, NAME=PATH or PATH: a PEFT folder or a bundle; may be repeated.")
    var adapter: [String] = []

    @OptionGroup var adapters: AdapterOptions
    @OptionGroup var listening: ListeningOptions
    @OptionGroup var limits: ServingLimits
    @OptionGroup var precision: PrecisionOptions
    @OptionGroup var common: CommonOptions

    func validate() throws {
        if let name = modelName, name.isEmpty || name.contains(where: { "/@ ".contains($0) }) {
            throw ValidationError("--model-name \(name): expected a name without / and @.")
        }
    }

    func run() throws {
        var options = ServerOptions()
        options.modelName =
            modelName ?? Adapters.name(of: URL(filePath: model).standardizedFileURL.path)
        options.version = Lorikeet.configuration.version
        try listening.apply(to: &options)
        limits.apply(to: &options)

        let (logger, listening) = (listening.logger, listening)
        let (base, json) = (options.modelName, common.json)
        let server = try APIServer(options: options, logger: logger) { [self] in
            try load(as: base, logger)
        }
        FileDescriptors.raiseLimit()
        listening.warnIfOpen(logger)
        try Self.wait {
            try await server.run { port in
                let address = listening.address(port: port)
                if json {
                    Terminal.print([
                        "url": .string(address), "host": .string(listening.host),
                        "port": .int(port), "model": .string(base),
                        "adapters": .array(server.adapterNames.map { .string($0) }),
                    ])
                } else {
                    Terminal.note("\(base) is served at \(address)")
                }
            }
        }
    }

    /// Loads the model, which requests call `name`, and the adapters.
    private func load(as name: String, _ logger: Logger) throws -> ServedModel {
        // Nobody's answer depends on what else is in the batch. Tokens take every core there is: connections
        // and loads, which need little, go first.
        let compute = Compute(
            threads: common.threads, precision: precision.precision ?? .int16,
            isBatchInvariant: true, niceness: 5)
        let roots = try AllowedRoots(adapters.adapterRoot)
        guard try EncoderConfiguration.describes(Checkpoints.open(model).configuration) else {
            let model = try LanguageModel(path: model, compute: compute)
            let registry = try adapters.registry(baseName: name, loading: adapter, logger) {
                RegistryAdapters.registry(model, options: $0)
            }
            return ServedModel(
                engine: Engine(model, options: limits.engine),
                adapters: RegistryAdapters<EngineAdapter>(registry, roots: roots),
                baseDigest: try model.baseDigest())
        }
        let encoder = try TextEncoder(path: model, compute: compute)
        let registry = try adapters.registry(baseName: name, loading: adapter, logger) {
            RegistryAdapters.registry(encoder, options: $0)
        }
        return ServedModel(
            batcher: EncoderBatcher(encoder, options: limits.batcher),
            adapters: RegistryAdapters<EncoderAdapter>(registry, roots: roots),
            baseDigest: try BaseDigest.of(encoder.checkpoint))
    }

    /// Runs `body` to its end on other threads.
    private static func wait(_ body: @escaping @Sendable () async throws -> Void) throws {
        let done = DispatchSemaphore(value: 0)
        let failure = Outcome()
        Task {
            do { try await body() } catch { failure.error.withLock { $0 = error } }
            done.signal()
        }
        done.wait()
        if let error = failure.error.withLock({ $0 }) { throw error }
    }

    private final class Outcome: Sendable {
        let error = Mutex<(any Error)?>(nil)
    }
}

/// How many connections the system lets a process have.
private enum FileDescriptors {
    /// Raises the limit as far as it goes without privileges: each connection is a descriptor.
    static func raiseLimit() {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
        limit.rlim_cur = limit.rlim_max
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }
}
