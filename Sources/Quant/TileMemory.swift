/// Memory for the tiles of a model's matrices, or an adapter's factors, one after the other in few large
/// pieces.
///
/// A matrix of a small model is too small for huge pages of its own, and pages of 4 KB are slow to come by
/// and miss the processor's address cache when a token's weights stream through it.
package final class TileMemory {
    private static let alignment = 64

    private let pieceBytes: Int
    private var piece = Buffer<UInt8>(0)
    private var used = 0

    /// Memory that comes so many bytes at a time.
    package init(pieceBytes: Int = 32 << 20) { self.pieceBytes = pieceBytes }

    /// What `bytes` take, for the next ones begin a cache line.
    package static func rounded(_ bytes: Int) -> Int {
        (bytes + alignment - 1) / alignment * alignment
    }

    /// `count` elements that hold anything, and what keeps them.
    func allocate<Element: BitwiseCopyable>(
        _ count: Int, of _: Element.Type
    ) -> (UnsafeMutablePointer<Element>, owner: AnyObject) {
        let bytes = count * MemoryLayout<Element>.stride
        if used + bytes > piece.count {
            piece = Buffer(uninitialized: max(bytes, pieceBytes))
            used = 0
        }
        let start = UnsafeMutableRawPointer(piece.pointer + used)
        used += Self.rounded(bytes)
        return (start.bindMemory(to: Element.self, capacity: count), piece)
    }

    /// A buffer of `count` elements that hold anything.
    package func buffer<Element: BitwiseCopyable>(
        _ count: Int, of type: Element.Type = Element.self
    ) -> Buffer<Element> {
        let (start, owner) = allocate(count, of: type)
        return Buffer(start, count: count, in: owner)
    }
}
