/// Memory that is allocated once and freed with its owner: 64-byte aligned, zeroed.
public final class Buffer<Element: BitwiseCopyable>: @unchecked Sendable {
    // Unchecked: like a C array; whoever shares one between threads divides it among them.

    /// The first element.
    public let pointer: UnsafeMutablePointer<Element>
    /// How many elements there are.
    public let count: Int

    /// Allocates `count` zeroed elements.
    public init(_ count: Int) {
        precondition(count >= 0, "a buffer of \(count) elements")
        self.count = count
        let bytes = max(count, 1) * MemoryLayout<Element>.stride
        let raw = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: 64)
        raw.initializeMemory(as: UInt8.self, repeating: 0, count: bytes)
        pointer = raw.bindMemory(to: Element.self, capacity: max(count, 1))
    }

    /// Allocates `count` elements that hold anything: for memory that is written before it is read.
    public init(uninitialized count: Int) {
        precondition(count >= 0, "a buffer of \(count) elements")
        self.count = count
        let bytes = max(count, 1) * MemoryLayout<Element>.stride
        pointer = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: 64)
            .bindMemory(to: Element.self, capacity: max(count, 1))
    }

    /// A copy of `elements`.
    @inlinable
    public convenience init(_ elements: some Collection<Element>) {
        self.init(elements.count)
        _ = self.elements.update(from: elements)
    }

    deinit { UnsafeMutableRawPointer(pointer).deallocate() }

    /// The element at `index`.
    @inlinable
    public subscript(index: Int) -> Element {
        get { pointer[index] }
        set { pointer[index] = newValue }
    }

    /// A copy of the elements.
    public var array: [Element] { withExtendedLifetime(self) { Array(elements) } }

    /// The elements as a buffer pointer; it does not keep the buffer alive.
    public var elements: UnsafeMutableBufferPointer<Element> {
        UnsafeMutableBufferPointer(start: pointer, count: count)
    }
}
