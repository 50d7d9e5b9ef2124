import ArgumentParser
import Foundation
import Logging
import LorikeetAdapters
import LorikeetRuntime
import LorikeetServer

/// Which adapters a server has, and how they are kept.
struct AdapterOptions: ParsableArguments {
    @Option(help: "A folder to keep in step with: adapters that appear, change or go in it.")
    var adapterDir: String?

    @Option(help: "A folder within which /v1/load_lora_adapter may load; may be repeated.")
    var adapterRoot: [String] = []

    @Option(
        help:
            "Memory for adapters, such as 2G; past it those that were not used for longest leave it."
    )
    var adapterMemory: ByteSize?

    @Option(
        help:
            "A folder for bundles of the PEFT folders that left memory; default: they are read anew."
    )
    var adapterCache: String?

    @Option(help: "A file of public keys, PEM: adapters that none of them signed are refused.")
    var trustedKeys: String?

    /// The registry that `make` makes, with the adapters at `paths` in it, in step with --adapter-dir as long as
    /// the program runs.
    ///
    /// - paths: NAME=PATH or PATH each.
    func registry<Prepared: Sendable>(
        baseName: String, loading paths: [String], _ logger: Logger,
        make: (AdapterRegistryOptions) -> AdapterRegistry<Prepared>
    ) throws -> AdapterRegistry<Prepared> {
        var options = AdapterRegistryOptions()
        options.maximumMemory = adapterMemory?.bytes
        options.cacheFolder = adapterCache
        options.trustedKeys = try trustedKeys.map { try TrustedKeys(path: $0) }
        options.reservedNames = [baseName]
        let registry = make(options)
        try registry.warmUp()
        for word in paths {
            let parts = word.split(separator: "=", maxSplits: 1).map(String.init)
            let (name, path) =
                parts.count == 2 ? (parts[0], parts[1]) : (Adapters.name(of: word), word)
            Terminal.note("\(name): \(try registry.load(name: name, path: path).line)")
        }
        try watch(registry, logger)
        return registry
    }

    private func watch(
        _ registry: AdapterRegistry<some Sendable>, _ logger: Logger
    ) throws {
        guard let adapterDir else { return }
        let watcher = try AdapterFolderWatcher(adapterDir, registry: registry) { event in
            switch event {
            case .loaded(let name):
                logger.info("adapter loaded", metadata: ["adapter": .string(name)])
            case .unloaded(let name):
                logger.info("adapter unloaded", metadata: ["adapter": .string(name)])
            case .failed(let name, let error):
                logger.error(
                    "adapter not loaded",
                    metadata: ["adapter": .string(name), "error": .string(error.description)])
            }
        }
        Task { await watcher.run() }
    }
}
