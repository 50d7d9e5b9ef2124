package import LorikeetQuant

/// What a block's backward pass needs of its forward pass, for batches of up to so many rows.
package protocol KeptActivations: AnyObject {
    /// Says how wide they are.
    associatedtype Configuration: BlockStack

    /// Allocates for batches of up to `tokens` rows.
    init(_ configuration: Configuration, tokens: Int)

    /// All of them, in the order of `widths`.
    var buffers: [Buffer<Float>] { get }

    /// How many floats a token each of `buffers` holds.
    static func widths(_ configuration: Configuration) -> [Int]

    /// What `buffers` are multiplied by before they are kept as halves, powers of two; ones by default.
    static func halfScales(_ configuration: Configuration) -> [Float]
}

extension KeptActivations {
    package static func halfScales(_ configuration: Configuration) -> [Float] {
        widths(configuration).map { _ in 1 }
    }

    /// Bytes for batches of up to `tokens` rows, each element stored as `Element`.
    static func memory<Element: BitwiseCopyable>(
        _ configuration: Configuration, tokens: Int, as _: Element.Type
    ) -> Int {
        widths(configuration).reduce(0) { $0 + Buffer<Element>.memory(tokens * $1) }
    }
}

/// A model of blocks that are as wide as each other.
package protocol BlockStack {
    /// Number of blocks.
    var layerCount: Int { get }
}

extension ModelConfiguration: BlockStack {}
extension EncoderConfiguration: BlockStack {}
