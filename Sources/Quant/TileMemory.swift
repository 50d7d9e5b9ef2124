/// Memory for the tiles of a model's matrices, one after the other in few large pieces.
///
/// A matrix of a small model is too small for huge pages of its own, and pages of 4 KB are slow to come by
/// and miss the processor's address cache when a token's weights stream through it.
final class TileMemory {
    private static let pieceBytes = 32 << 20
    private static let alignment = 64

    private var piece = Buffer<UInt8>(0)
    private var used = 0

    /// `count` elements that hold anything, and what keeps them.
    func allocate<Element: BitwiseCopyable>(
        _ count: Int, of _: Element.Type
    ) -> (UnsafeMutablePointer<Element>, owner: AnyObject) {
        let bytes = count * MemoryLayout<Element>.stride
        if used + bytes > piece.count {
            piece = Buffer(uninitialized: max(bytes, Self.pieceBytes))
            used = 0
        }
        let start = UnsafeMutableRawPointer(piece.pointer + used)
        used += (bytes + Self.alignment - 1) / Self.alignment * Self.alignment
        return (start.bindMemory(to: Element.self, capacity: count), piece)
    }
}
