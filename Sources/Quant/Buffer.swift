#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// Memory that is allocated once and freed with its owner: 64-byte aligned, zeroed.
///
/// Large ones come from the system as they are asked for: pages that nobody touches take no memory, and
/// those that are touched come two megabytes at a time where the system has such pages.
public final class Buffer<Element: BitwiseCopyable>: @unchecked Sendable {
    // Unchecked: like a C array; whoever shares one between threads divides it among them.

    /// The first element.
    public let pointer: UnsafeMutablePointer<Element>
    /// How many elements there are.
    public let count: Int
    private let pages: Pages?
    // Whose memory it is, where not its own.
    private let owner: AnyObject?
    private let meter: AllocationMeter?

    /// Allocates `count` zeroed elements.
    public convenience init(_ count: Int) {
        self.init(uninitialized: count)
        guard pages == nil else { return }
        UnsafeMutableRawPointer(pointer).initializeMemory(
            as: UInt8.self, repeating: 0, count: count * MemoryLayout<Element>.stride)
    }

    /// Allocates `count` elements that hold anything: for memory that is written before it is read.
    public init(uninitialized count: Int) {
        precondition(count >= 0, "a buffer of \(count) elements")
        self.count = count
        let bytes = max(count, 1) * MemoryLayout<Element>.stride
        pages = bytes >= Pages.worthwhile ? Pages(bytes) : nil
        let memory =
            pages?.start ?? UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: 64)
        pointer = memory.bindMemory(to: Element.self, capacity: max(count, 1))
        owner = nil
        meter = AllocationMeter.current
        meter?.add(Self.memory(count))
    }

    /// A part of the memory of `owner`.
    package init(_ pointer: UnsafeMutablePointer<Element>, count: Int, in owner: AnyObject) {
        self.pointer = pointer
        self.count = count
        self.owner = owner
        pages = nil
        meter = nil
    }

    /// Bytes of memory that `count` elements take once all are written.
    public static func memory(_ count: Int) -> Int {
        let bytes = count * MemoryLayout<Element>.stride
        return bytes >= Pages.worthwhile ? Pages.rounded(bytes) : bytes
    }

    /// A copy of `elements`.
    @inlinable
    public convenience init(_ elements: some Collection<Element>) {
        self.init(elements.count)
        _ = self.elements.update(from: elements)
    }

    deinit {
        guard owner == nil else { return }
        meter?.subtract(Self.memory(count))
        if let pages {
            pages.release()
        } else {
            UnsafeMutableRawPointer(pointer).deallocate()
        }
    }

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

/// Zeroed pages from the system.
private struct Pages {
    // Where glibc begins to ask the system too, but for good: it raises its own threshold to the largest
    // piece that was freed, and after loading a model keeps the decoded scales (measured: 20 MB at 1.1B).
    static let worthwhile = 1 << 17
    private static let huge = 2 << 20
    private static let small = 4 << 10

    /// What the system gives for `bytes`: small pages where they would not fill a huge one.
    static func rounded(_ bytes: Int) -> Int { (bytes + small - 1) / small * small }

    let start: UnsafeMutableRawPointer
    private let base: UnsafeMutableRawPointer
    private let length: Int

    init(_ bytes: Int) {
        // Addresses for one more huge page, so that the first can begin on a boundary; they cost nothing.
        length = bytes + Self.huge
        let mapped = mmap(
            nil, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        guard let mapped, mapped != MAP_FAILED else { fatalError("no memory for \(bytes) bytes") }
        base = mapped
        let offset = Int(bitPattern: base) & (Self.huge - 1)
        start = base + (offset == 0 ? 0 : Self.huge - offset)
        // The rest, which would not fill a huge page, stays in small ones. Advice: where the system does
        // not follow it, all are small.
        madvise(start, bytes / Self.huge * Self.huge, MADV_HUGEPAGE)
    }

    func release() { munmap(base, length) }
}
