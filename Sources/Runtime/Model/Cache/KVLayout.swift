package import LorikeetQuant
import QuantKernels

/// How the keys and values of a model's blocks lie in a page: block after block, keys before values.
package struct KVLayout: Sendable {
    /// Key and value heads.
    let heads: Int
    /// Width of a head.
    let headSize: Int
    /// Blocks of the model.
    let layers: Int
    /// Whether elements are halves, as `quant_kv` has them, or floats [position, heads · headSize].
    let isHalves: Bool

    /// The layout for a model.
    package init(_ configuration: ModelConfiguration, precision: Precision) {
        heads = configuration.keyValueHeadCount
        headSize = configuration.headSize
        layers = configuration.layerCount
        // What the half-precision kernels take; other heads are rare, and right in floats.
        let fits = headSize % 8 == 0 && headSize <= Int(QUANT_ATTEND_HEAD)
        isHalves = precision != .fp32 && fits
    }

    /// Elements of a position's keys, or values, of one block.
    var width: Int { heads * headSize }
    /// Elements of a page's keys, or values, of one block.
    private var part: Int { KVPool.positions * width }
    private var elementBytes: Int {
        isHalves ? MemoryLayout<UInt16>.stride : MemoryLayout<Float>.stride
    }

    /// The first element of a block's keys.
    func keys(_ layer: Int) -> Int { 2 * layer * part }
    /// The first element of a block's values.
    func values(_ layer: Int) -> Int { keys(layer) + part }

    /// Bytes of a position, of all blocks.
    var positionBytes: Int { 2 * layers * width * elementBytes }
    /// Bytes of a page.
    package var pageBytes: Int { KVPool.positions * positionBytes }
}
