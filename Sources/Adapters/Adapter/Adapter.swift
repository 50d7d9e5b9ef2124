import Crypto
import LorikeetQuant
public import LorikeetRuntime

/// A LoRA adapter in memory: the low-rank terms of some modules, never changed once made.
///
/// Requests hold the adapter that they began with, whatever the registry is told meanwhile.
public final class Adapter: LowRankDeltas {
    /// The name people call it by.
    public let name: String
    /// What its adapter_config.json says.
    public let configuration: AdapterConfiguration
    /// The terms, fp32.
    public let deltas: [ModulePath: LowRankDelta]
    /// SHA-256 of modules, scales and factors: the adapter's identity, whatever it is called or stored as.
    public let digest: String
    /// The bundle's manifest, when it came from one.
    public let manifest: BundleManifest?

    /// Creates an adapter of terms that are in memory already.
    public convenience init(
        name: String, configuration: AdapterConfiguration, deltas: [ModulePath: LowRankDelta]
    ) {
        self.init(name: name, configuration: configuration, deltas: deltas, manifest: nil)
    }

    init(
        name: String, configuration: AdapterConfiguration, deltas: [ModulePath: LowRankDelta],
        manifest: BundleManifest?
    ) {
        self.name = name
        self.configuration = configuration
        self.deltas = deltas
        self.manifest = manifest
        digest = Self.digest(of: deltas)
    }

    /// The term at `path`, or nil where the adapter leaves the module alone.
    public func delta(at path: ModulePath) -> LowRankDelta? { deltas[path] }

    /// How many modules have a term.
    public var moduleCount: Int { deltas.count }

    /// Number of factor elements.
    public var parameterCount: Int { deltas.values.reduce(0) { $0 + $1.a.count + $1.b.count } }

    /// SHA-256 over each module in the model's order: a line of its name, rank, widths and scale's bits,
    /// then A and B as little-endian fp32.
    private static func digest(of deltas: [ModulePath: LowRankDelta]) -> String {
        var hash = SHA256()
        hash.update(data: Array("lorikeet adapter 1\n".utf8))
        for path in deltas.keys.inModelOrder() {
            guard let delta = deltas[path] else { continue }
            let (inputs, outputs) = (delta.a.count / delta.rank, delta.b.count / delta.rank)
            let line = "\(path) \(delta.rank) \(inputs) \(outputs) \(delta.scale.bitPattern)\n"
            hash.update(data: Array(line.utf8))
            // Every machine that Swift runs on here is little-endian.
            hash.update(bufferPointer: UnsafeRawBufferPointer(delta.a.elements))
            hash.update(bufferPointer: UnsafeRawBufferPointer(delta.b.elements))
        }
        return hash.finalize().hexadecimal
    }
}

extension Sequence<ModulePath> {
    /// By layer, then as `LinearModule` lists them.
    func inModelOrder() -> [ModulePath] {
        let order = Dictionary(
            uniqueKeysWithValues: LinearModule.allCases.enumerated().map { ($1, $0) })
        return sorted { ($0.layer, order[$0.module] ?? 0) < ($1.layer, order[$1.module] ?? 0) }
    }
}
