import Crypto
public import LorikeetQuant
public import LorikeetRuntime

/// A LoRA adapter in memory: the low-rank terms of some modules, never changed once made.
///
/// Requests hold the adapter that they began with, whatever the registry is told meanwhile.
public final class Adapter: LowRankDeltas {
    /// The name people call it by.
    public let name: String
    /// What its adapter_config.json says.
    public let configuration: AdapterConfiguration
    /// The terms, fp32; DoRA's output scales are there once the adapter is loaded over a base.
    public let deltas: [ModulePath: LowRankDelta]
    /// DoRA's magnitudes, `lora_magnitude_vector` [out] of every module; none without DoRA.
    public let magnitudes: [ModulePath: Buffer<Float>]
    /// Tensors of the model that it brings whole, by their names there: a classifier's head.
    public let tensors: [String: SavedTensor]
    /// What a head that it brings judges; nil where nobody said.
    public let task: SequenceTask?
    /// SHA-256 of modules, scales, factors, magnitudes, whole tensors and task: the adapter's identity, whatever it is called or stored as.
    public let digest: String
    /// The bundle's manifest, when it came from one.
    public let manifest: BundleManifest?

    /// Creates an adapter of terms that are in memory already.
    public convenience init(
        name: String, configuration: AdapterConfiguration, deltas: [ModulePath: LowRankDelta],
        tensors: [String: SavedTensor] = [:]
    ) {
        self.init(
            name: name, configuration: configuration, deltas: deltas, magnitudes: [:],
            tensors: tensors, manifest: nil)
    }

    init(
        name: String, configuration: AdapterConfiguration, deltas: [ModulePath: LowRankDelta],
        magnitudes: [ModulePath: Buffer<Float>], tensors: [String: SavedTensor] = [:],
        task: SequenceTask? = nil, manifest: BundleManifest?, digest: String? = nil
    ) {
        self.name = name
        self.configuration = configuration
        self.deltas = deltas
        self.magnitudes = magnitudes
        self.manifest = manifest
        self.tensors = tensors
        self.task = task
        self.digest = digest ?? Self.digest(of: deltas, magnitudes, tensors, task)
    }

    /// The tensor `name` of the model, where the adapter brings it.
    public func tensor(_ name: String) -> Buffer<Float>? { tensors[name]?.values }

    /// The term at `path`, or nil where the adapter leaves the module alone.
    ///
    /// A DoRA adapter that was only inspected has none: it lacks the norms of a base.
    public func delta(at path: ModulePath) -> LowRankDelta? {
        let delta = deltas[path]
        precondition(
            delta == nil || magnitudes.isEmpty || delta?.outputScale != nil,
            "the DoRA adapter \(name) was not loaded over a base")
        return delta
    }

    /// The DoRA adapter with what its outputs are multiplied by over the base of `norms`,
    /// m / ‖W + s B A‖.
    func prepared(with norms: RowNorms) -> Adapter {
        let prepared = deltas.map { path, delta in
            guard let magnitude = magnitudes[path] else { return (path, delta) }
            let outputScale = Buffer<Float>(magnitude.count)
            norms.compute(delta, at: path, into: outputScale)
            Magnitude.scale(magnitude, over: outputScale, into: outputScale)
            return (
                path,
                LowRankDelta(
                    a: delta.a, b: delta.b, rank: delta.rank, scale: delta.scale,
                    outputScale: outputScale)
            )
        }
        return Adapter(
            name: name, configuration: configuration,
            deltas: Dictionary(uniqueKeysWithValues: prepared), magnitudes: magnitudes,
            tensors: tensors, task: task, manifest: manifest, digest: digest)
    }

    /// How many modules have a term.
    public var moduleCount: Int { deltas.count }

    /// Number of elements of factors, magnitudes and whole tensors.
    public var parameterCount: Int {
        deltas.values.reduce(0) { $0 + $1.a.count + $1.b.count }
            + magnitudes.values.reduce(0) { $0 + $1.count }
            + tensors.values.reduce(0) { $0 + $1.values.count }
    }

    /// Bytes of factors, magnitudes, output scales and whole tensors.
    public var memory: Int {
        deltas.values.reduce(0) { $0 + $1.memory }
            + magnitudes.values.reduce(0) { $0 + Buffer<Float>.memory($1.count) }
            + tensors.values.reduce(0) { $0 + Buffer<Float>.memory($1.values.count) }
    }

    /// SHA-256 over each module in its order: a line of its name, rank, widths and scale's bits,
    /// with ` magnitude` at its end for DoRA, then A, B and the magnitudes as little-endian fp32; then over
    /// whole tensors by name: a line of name and shape, then the elements; then the task's object, if one is stated.
    private static func digest(
        of deltas: [ModulePath: LowRankDelta], _ magnitudes: [ModulePath: Buffer<Float>],
        _ tensors: [String: SavedTensor], _ task: SequenceTask?
    ) -> String {
        var hash = SHA256()
        hash.update(data: Array("lorikeet adapter 1\n".utf8))
        for path in deltas.keys.sorted() {
            guard let delta = deltas[path] else { continue }
            let (inputs, outputs) = (delta.a.count / delta.rank, delta.b.count / delta.rank)
            let magnitude = magnitudes[path]
            let line = "\(path) \(delta.rank) \(inputs) \(outputs) \(delta.scale.bitPattern)"
            hash.update(data: Array((line + (magnitude == nil ? "\n" : " magnitude\n")).utf8))
            // Every machine that Swift runs on here is little-endian.
            hash.update(bufferPointer: UnsafeRawBufferPointer(delta.a.elements))
            hash.update(bufferPointer: UnsafeRawBufferPointer(delta.b.elements))
            if let magnitude {
                hash.update(bufferPointer: UnsafeRawBufferPointer(magnitude.elements))
            }
        }
        for (name, tensor) in tensors.sorted(by: { $0.key < $1.key }) {
            let shape = tensor.shape.map(String.init).joined(separator: ",")
            hash.update(data: Array("\(name) \(shape) whole\n".utf8))
            hash.update(bufferPointer: UnsafeRawBufferPointer(tensor.values.elements))
        }
        if let task { hash.update(data: task.json.data()) }
        return hash.finalize().hexadecimal
    }
}

extension LowRankDelta {
    /// Bytes of the factors and output scales.
    var memory: Int {
        [a, b, outputScale].reduce(0) { $0 + ($1.map { Buffer<Float>.memory($0.count) } ?? 0) }
    }
}
