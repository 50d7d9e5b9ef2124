import LorikeetQuant
public import QuantKernels

/// Keys and values of one layer in pages that lie in any order; what was never written is NaN.
public final class KVPages {
    private let pages: [Buffer<UInt16>]
    private let table: Buffer<Int>
    private let heads: Int
    private let headSize: Int
    // A page belongs to more than one layer: its keys and values lie behind another's, and apart.
    private static let keys = 16
    private let values: Int

    /// Memory for so many positions.
    public init(positions: Int, heads: Int, headSize: Int) {
        self.heads = heads
        self.headSize = headSize
        let page = Int(QUANT_KV_PAGE)
        values = Self.keys + page * heads * headSize + 8
        let count = (positions + page - 1) / page
        let size = values + page * heads * headSize
        pages = (0..<count).map { _ in Buffer([UInt16](repeating: 0xffff, count: size)) }
        table = Buffer(pages.reversed().map { Int(bitPattern: $0.pointer) })
    }

    /// The kernels' view, valid as long as this object is.
    public var raw: quant_kv {
        quant_kv(
            pages: UnsafeRawPointer(table.pointer)
                .assumingMemoryBound(to: UnsafeMutablePointer<UInt16>?.self),
            keys: Self.keys, values: values, kv_heads: heads, head_size: headSize)
    }

    /// An element of a key, by the layout's own definition.
    public func key(head: Int, position: Int, dimension: Int) -> UnsafeMutablePointer<UInt16> {
        let (page, block) = (Int(QUANT_KV_PAGE), Int(QUANT_KV_BLOCK))
        let row = position % page / block * heads + head
        return start(of: position) + Self.keys
            + (row * headSize + dimension) * block + position % block
    }

    /// A value's first element.
    public func value(head: Int, position: Int) -> UnsafeMutablePointer<UInt16> {
        start(of: position) + values
            + (position % Int(QUANT_KV_PAGE) * heads + head) * headSize
    }

    private func start(of position: Int) -> UnsafeMutablePointer<UInt16> {
        pages[pages.count - 1 - position / Int(QUANT_KV_PAGE)].pointer
    }
}
