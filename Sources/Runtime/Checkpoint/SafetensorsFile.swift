/// A safetensors file, mapped: eight bytes of header length, a JSON header, the tensors' bytes.
///
///     u64 N │ {"__metadata__": {…}, NAME: {"dtype", "shape", "data_offsets": [begin, end]}, …} │ data
public struct SafetensorsFile: Sendable {
    /// The longest header that the official reader accepts.
    public static let maximumHeaderBytes = 100_000_000

    /// The path it was opened from.
    public let path: String
    /// The tensors, in the order of their offsets.
    public let tensors: [Tensor]
    /// `__metadata__`: strings by name.
    public let metadata: [String: String]

    /// Maps the file at `path` and checks its header.
    ///
    /// - Throws: `.notFound`, `.io`, `.malformed`; `.unsupported` for an unknown dtype.
    public init(path: String) throws {
        let file = try MappedFile(path: path)
        try self.init(bytes: file.bytes, owner: file, path: path)
    }

    /// Checks the header of a file that is in memory; `owner` keeps `bytes`, `path` is for errors.
    ///
    /// - Throws: `.malformed`; `.unsupported` for an unknown dtype.
    public init(bytes: UnsafeRawBufferPointer, owner: AnyObject, path: String) throws {
        self.path = path
        let dataStart = try Self.dataStart(of: bytes, path)
        let data = UnsafeRawBufferPointer(rebasing: bytes[dataStart...])
        let header = try SafetensorsHeader(
            parsing: UnsafeRawBufferPointer(rebasing: bytes[8..<dataStart]), dataSize: data.count,
            path: path)
        metadata = header.metadata
        tensors = header.tensors.map { entry in
            Tensor(
                name: entry.name, type: entry.type, shape: entry.shape,
                bytes: UnsafeRawBufferPointer(rebasing: data[entry.bytes]), owner: owner)
        }
    }

    private static func dataStart(of bytes: UnsafeRawBufferPointer, _ path: String) throws -> Int {
        guard bytes.count >= 8 else {
            throw SafetensorsHeader.malformed(
                path, "too short for a safetensors file", got: "\(bytes.count) bytes")
        }
        let length = UInt64(littleEndian: bytes.loadUnaligned(as: UInt64.self))
        guard length <= maximumHeaderBytes, 8 + Int(length) <= bytes.count else {
            throw SafetensorsHeader.malformed(
                path, "its header does not fit the file",
                expected: "at most \(min(maximumHeaderBytes, bytes.count - 8)) bytes",
                got: "\(length)", advice: "The file may be truncated; get it again.")
        }
        return 8 + Int(length)
    }
}
