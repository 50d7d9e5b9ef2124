import Foundation
import HTTPTypes
public import LorikeetAdapters
public import LorikeetRuntime
import Synchronization

/// The adapters of a registry, all in memory, and what they are loaded from.
public final class RegistryAdapters: ServedAdapters {
    private struct State {
        var created: [String: Int] = [:]
        var blends: [String: any LowRankDeltas] = [:]
    }

    private static let keptBlends = 8

    private let registry: AdapterRegistry
    private let roots: [String]
    private let moduleTotal: Int
    private let state = Mutex(State())

    /// The adapters of `registry`, which loads more from below the folders `roots` alone.
    public init(
        _ registry: AdapterRegistry, over model: ModelConfiguration, roots: [String] = []
    ) {
        self.registry = registry
        self.roots = roots.map(Self.resolved)
        moduleTotal = model.layerCount * LinearModule.allCases.count
    }

    /// The adapters, by name.
    public var list: [ServedAdapterInfo] {
        registry.names.compactMap { name in registry[name].map { info($0, name) } }
    }

    /// None: all stay in memory.
    public var evictions: Int { 0 }

    /// The adapter that `name` means, if it still has the digest that the name may pin.
    public func adapter(named name: String) async throws -> ServedAdapter {
        let adapter = try find(name)
        return ServedAdapter(
            name: adapter.name, engine: EngineAdapter(key: adapter.digest, deltas: adapter))
    }

    /// The sum of scaled adapters; the last ones asked for are kept.
    public func blend(_ parts: [BlendPart]) async throws -> ServedAdapter {
        let adapters = try parts.map { (try find($0.name), $0.scale) }
        let key = adapters.map { "\($0.digest)*\($1)" }.joined(separator: "+")
        if let deltas = state.withLock({ $0.blends[key] }) {
            return ServedAdapter(
                name: "blend", engine: EngineAdapter(key: key, deltas: deltas))
        }
        let deltas = try DeltaSum(adapters.map { try $0.scaled(by: $1) })
        state.withLock { state in
            if state.blends.count >= Self.keptBlends { state.blends = [:] }
            state.blends[key] = deltas
        }
        return ServedAdapter(name: "blend", engine: EngineAdapter(key: key, deltas: deltas))
    }

    /// Loads an adapter from below an allowed folder.
    public func load(
        name: String, path: String, replacing: Bool
    ) async throws -> ServedAdapterInfo {
        let resolved = Self.resolved(path)
        guard roots.contains(where: { resolved.hasPrefix($0 == "/" ? $0 : $0 + "/") }) else {
            throw APIError(
                .forbidden, "\(path) is not below a folder that adapters may come from.",
                type: "permission_error", parameter: "lora_path", code: "path_not_allowed")
        }
        guard replacing || registry[name] == nil else {
            throw LorikeetError(
                .exists, name, "an adapter of that name is loaded",
                advice: "Pass \"load_inplace\": true to replace it.")
        }
        return try add(name: name, path: resolved)
    }

    /// Loads an adapter that whoever started the program named.
    @discardableResult
    public func add(name: String, path: String) throws -> ServedAdapterInfo {
        try Self.check(name)
        let adapter = try registry.load(name: name, path: path)
        state.withLock { $0.created[name] = Int(Date().timeIntervalSince1970) }
        return info(adapter, name)
    }

    /// Forgets an adapter.
    public func unload(name: String) async throws { try registry.unload(name: name) }

    /// - Throws: `.invalidArgument` for a name that could be taken for a path, a pin, or several words.
    private static func check(_ name: String) throws {
        let isPlain = name.utf8.allSatisfy {
            UInt8(ascii: "a")...UInt8(ascii: "z") ~= $0 || UInt8(ascii: "A")...UInt8(ascii: "Z") ~= $0
                || UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 || "._-:".utf8.contains($0)
        }
        guard isPlain, (1...128).contains(name.utf8.count), !name.hasPrefix(".") else {
            throw LorikeetError(
                .invalidArgument, "lora_name", "no name for an adapter",
                expected: "1 to 128 letters, digits and ._-:, no dot at the start",
                got: String(reflecting: name))
        }
    }

    private func find(_ name: String) throws -> Adapter {
        let parts = name.split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false)
        guard let adapter = try registry.adapter(String(parts[0])) else {
            preconditionFailure("a name is no base")
        }
        guard parts.count == 1 || (parts[1].count >= 8 && adapter.digest.hasPrefix(parts[1])) else {
            throw LorikeetError(
                .notFound, name, "there is another version of this adapter",
                expected: "8 or more digits of \(adapter.digest)", got: String(parts[1]))
        }
        return adapter
    }

    private func info(_ adapter: Adapter, _ name: String) -> ServedAdapterInfo {
        ServedAdapterInfo(
            name: name, digest: adapter.digest,
            created: state.withLock { $0.created[name] } ?? 0,
            details: [
                "rank": .int(adapter.configuration.rank),
                "method": .string(adapter.manifest?.method ?? adapter.configuration.method),
                "modules_applied": .int(adapter.moduleCount), "modules_total": .int(moduleTotal),
            ])
    }

    private static func resolved(_ path: String) -> String {
        URL(filePath: path).resolvingSymlinksInPath().standardizedFileURL.path(percentEncoded: false)
            .trimmingSuffix("/")
    }
}

extension Adapter {
    /// The adapter times `factor`.
    ///
    /// - Throws: `.unsupported` for DoRA, whose magnitudes have no such multiple.
    fileprivate func scaled(by factor: Float) throws -> Adapter {
        guard !configuration.usesDoRA else {
            throw LorikeetError(
                .unsupported, name, "a DoRA adapter cannot be scaled or added to another",
                advice: "Use it alone.")
        }
        return Adapter(
            name: name, configuration: configuration,
            deltas: deltas.mapValues {
                LowRankDelta(a: $0.a, b: $0.b, rank: $0.rank, scale: $0.scale * factor)
            })
    }
}

extension String {
    /// Without `suffix` at its end, unless nothing would be left.
    fileprivate func trimmingSuffix(_ suffix: String) -> String {
        hasSuffix(suffix) && count > suffix.count ? String(dropLast(suffix.count)) : self
    }
}
