import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime
import TestSupport

/// A registry whose adapters are used as they are.
typealias SmallRegistry = AdapterRegistry<any LowRankDeltas>

/// Options with these limits.
func limits(
    memory: Int? = nil, cache: String? = nil,
    _ change: (inout AdapterRegistryOptions) -> Void = { _ in }
) -> AdapterRegistryOptions {
    var options = AdapterRegistryOptions()
    options.maximumMemory = memory
    options.cacheFolder = cache
    change(&options)
    return options
}

/// An empty registry over `smallModel`, which has no weights to probe.
func smallRegistry(_ options: AdapterRegistryOptions = AdapterRegistryOptions()) -> SmallRegistry {
    AdapterRegistry(AdapterBase(smallModel), options: options)
}

/// Writes a PEFT folder of random factors at q_proj of both layers: another adapter for every seed.
func writeRandom(
    _ path: String, seed: UInt64, rank: Int = 4, settings: [(String, JSON)] = []
) throws {
    let tensors = (0..<2).flatMap { layer in
        let name = "base_model.model.model.layers.\(layer).self_attn.q_proj"
        let values = noise(2 * 32 * rank, seed: 1000 * seed + UInt64(layer)).array
        return [
            RawTensor("\(name).lora_A.weight", [rank, 32], Array(values[..<(32 * rank)])),
            RawTensor("\(name).lora_B.weight", [32, rank], Array(values[(32 * rank)...])),
        ]
    }
    try writeFolder(path, tensors, settings: [queryTargets, ("r", .int(rank))] + settings)
}

/// Bytes that an adapter of `writeRandom` takes.
func randomMemory(rank: Int = 4) -> Int { 2 * 2 * 32 * rank * MemoryLayout<Float>.stride }

/// Packs an adapter of `writeRandom` as the bundle `NAME.lorikeet` in `folder`.
@discardableResult
func packRandom(
    _ name: String, seed: UInt64, in folder: TemporaryFolder, replace: Bool = false
) throws -> BundleManifest {
    let source = try TemporaryFolder()
    try writeRandom(source["a"], seed: seed)
    return try AdapterBundle.pack(
        source["a"], to: folder[name + ".lorikeet"], replace: replace)
}

extension AdapterRegistry {
    /// What `text` means: `name` or `name@digest`.
    func acquire(_ text: String) throws -> Served { try acquire(AdapterReference(text)) }

    /// A blend of current versions.
    func blend(_ parts: [(String, Float)]) throws -> Served {
        try acquire(parts.map { BlendPart(AdapterReference(name: $0), scale: $1) })
    }
}
