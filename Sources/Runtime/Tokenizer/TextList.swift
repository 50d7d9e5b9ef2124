/// Short texts in UTF-8, one after the other in one piece of memory.
struct TextList: Sendable {
    /// All bytes, at most 2 GiB.
    private(set) var heap: [UInt8] = []
    /// Text i is `heap[bounds[i]..<bounds[i + 1]]`.
    private var bounds: [Int32] = [0]

    /// The number of texts.
    var count: Int { bounds.count - 1 }

    /// Where the bytes of a text are.
    subscript(index: Int) -> Range<Int> { Int(bounds[index])..<Int(bounds[index + 1]) }

    /// Appends a text, the bytes of which `body` appends to the heap.
    mutating func append(_ body: (inout [UInt8]) throws -> Void) rethrows {
        try body(&heap)
        bounds.append(Int32(heap.count))
    }
}
