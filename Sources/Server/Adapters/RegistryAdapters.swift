import Foundation
public import LorikeetAdapters
public import LorikeetRuntime

/// The adapters of a registry, as the API asks for them.
public final class RegistryAdapters<Terms: AdapterTerms>: ServedAdapters {
    /// Where they come from.
    public typealias Registry = AdapterRegistry<Terms.Prepared>

    private let registry: Registry
    private let roots: AllowedRoots

    /// The adapters of `registry`, which clients may add to from within `roots`.
    public init(_ registry: Registry, roots: AllowedRoots) {
        self.registry = registry
        self.roots = roots
    }

    /// The adapters, by name.
    public var list: [ServedAdapterInfo] { registry.statuses.map(info) }

    /// How many adapters had to leave memory for others.
    public var evictions: Int { registry.statuses.reduce(0) { $0 + $1.evictions } }

    /// The adapter that `name` means, or pins.
    public func adapter(named name: String) async throws -> SelectedAdapter<Terms> {
        selected(try await registry.acquire(AdapterReference(name)), name: name)
    }

    /// The sum of scaled adapters.
    public func blend(_ parts: [BlendPart]) async throws -> SelectedAdapter<Terms> {
        selected(try await registry.acquire(parts), name: "blend")
    }

    /// Loads an adapter from within an allowed folder.
    public func load(
        name: String, path: String, replacing: Bool
    ) async throws -> ServedAdapterInfo {
        try await registry.load(name: name, path: roots.resolve(path), replace: replacing)
        guard let status = registry.status(of: name) else {
            throw LorikeetError(.notFound, name, "was unloaded while it was loaded")
        }
        return info(status)
    }

    /// Forgets an adapter.
    public func unload(name: String) async throws { try registry.unload(name: name) }

    private func selected(_ served: Registry.Served, name: String) -> SelectedAdapter<Terms> {
        SelectedAdapter(
            name: name.split(separator: "@").first.map(String.init) ?? name, terms: Terms(served))
    }

    private func info(_ status: AdapterStatus) -> ServedAdapterInfo {
        var details = status.json.object ?? [:]
        for key in ["name", "digest", "loaded", "path"] { details[key] = nil }
        details["error"] = details["failure"]
        details["failure"] = nil
        return ServedAdapterInfo(
            name: status.name, digest: status.version?.digest ?? "",
            created: Int(status.version?.loaded.timeIntervalSince1970 ?? 0), details: details)
    }
}

extension RegistryAdapters<EngineAdapter> {
    /// A registry over `model`, whose adapters are ready for an engine.
    public static func registry(
        _ model: LanguageModel, options: AdapterRegistryOptions = AdapterRegistryOptions()
    ) -> Registry {
        AdapterRegistry(
            AdapterBase(model), options: options,
            probe: AdapterProbe(model.model, on: model.compute) { $0 }
        ) {
            PackedDeltas($0, for: model.model.configuration, on: model.compute)
        } memory: {
            $0.memory
        }
    }
}

extension RegistryAdapters<EncoderAdapter> {
    /// A registry over `encoder`, whose adapters are ready for a batcher.
    public static func registry(
        _ encoder: TextEncoder, options: AdapterRegistryOptions = AdapterRegistryOptions()
    ) -> Registry {
        // An adapter is used as it is, and its memory counted anyway.
        AdapterRegistry(
            AdapterBase(encoder), options: options, probe: AdapterProbe(encoder) { $0.deltas },
            prepare: { EncoderAdapter.Prepared($0, over: encoder) }, memory: { _ in 0 })
    }
}
