/// A tensor of a checkpoint: its name, type, shape and mapped bytes.
public struct Tensor: @unchecked Sendable {
    // Unchecked: the bytes are mapped read-only, and `owner` keeps them.

    /// The name in its file.
    public let name: String
    /// How an element, or a block of elements, is stored.
    public let type: TensorType
    /// Outermost dimension first, as PyTorch writes it; empty for a scalar.
    public let shape: [Int]
    /// The stored bytes.
    public let bytes: UnsafeRawBufferPointer
    /// What keeps the bytes mapped.
    public let owner: AnyObject

    /// Creates a view of `bytes`.
    public init(
        name: String, type: TensorType, shape: [Int], bytes: UnsafeRawBufferPointer,
        owner: AnyObject
    ) {
        self.name = name
        self.type = type
        self.shape = shape
        self.bytes = bytes
        self.owner = owner
    }

    /// The number of elements.
    public var count: Int { shape.reduce(1, *) }

    /// Lets go of the memory that the bytes occupy; they are read again from the file when needed.
    public func releasePages() { (owner as? MappedFile)?.releasePages(of: bytes) }

    /// The same for a part of a matrix that has so many `rows`.
    func releasePages(ofRows part: Range<Int>, of rows: Int) {
        releasePages(bytes.count * part.lowerBound / rows..<bytes.count * part.upperBound / rows)
    }

    /// The same for some of the bytes.
    func releasePages(_ part: Range<Int>) {
        (owner as? MappedFile)?.releasePages(of: UnsafeRawBufferPointer(rebasing: bytes[part]))
    }
}

extension [Tensor] {
    /// The bytes of all files that the tensors lie in.
    var fileBytes: Int {
        let files = compactMap { $0.owner as? MappedFile }
        return Dictionary(files.map { (ObjectIdentifier($0), $0.bytes.count) }) { first, _ in first
        }
        .values.reduce(0, +)
    }
}
