import OrderedCollections

/// A safetensors file, mapped: eight bytes of header length, a JSON header, the tensors' bytes.
///
///     u64 N │ {"__metadata__": {…}, NAME: {"dtype", "shape", "data_offsets": [begin, end]}, …} │ data
///
/// A header is believed only when its tensors cover the data exactly, as the official reader demands:
/// in the order of their offsets each begins where the one before ends, and the last ends the file.
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
        let header = try JSON(
            parsing: UnsafeRawBufferPointer(rebasing: bytes[8..<dataStart]), source: path)
        guard let members = header.object else {
            throw Self.malformed(path, "its header is no object")
        }
        metadata = try Self.metadata(members["__metadata__"], path)

        var entries: [Entry] = []
        entries.reserveCapacity(members.count)
        for (name, description) in members where name != "__metadata__" {
            entries.append(try Entry(name: name, description, path))
        }
        // The parser tells keys apart by their bytes; as strings two of them may still be equal.
        guard Set(entries.map(\.name)).count == entries.count else {
            throw Self.malformed(path, "two tensors have names that differ only in Unicode's forms")
        }
        // Empty tensors share an offset with their neighbour, so the end decides too.
        entries.sort { ($0.begin, $0.end) < ($1.begin, $1.end) }

        let data = UnsafeRawBufferPointer(rebasing: bytes[dataStart...])
        var position = 0
        for entry in entries {
            guard entry.begin == position else {
                throw Self.malformed(
                    path, "the tensor \(entry.name) overlaps another or leaves a hole",
                    expected: "data that begins at \(position)", got: "\(entry.begin)")
            }
            position = entry.end
        }
        guard position == data.count else {
            throw Self.malformed(
                path, "its tensors do not cover its data", expected: "\(position) bytes",
                got: "\(data.count)", advice: "The file may be truncated; get it again.")
        }
        tensors = entries.map { entry in
            Tensor(
                name: entry.name, type: entry.type, shape: entry.shape,
                bytes: UnsafeRawBufferPointer(rebasing: data[entry.begin..<entry.end]), owner: owner
            )
        }
    }

    private static func dataStart(of bytes: UnsafeRawBufferPointer, _ path: String) throws -> Int {
        guard bytes.count >= 8 else {
            throw malformed(
                path, "too short for a safetensors file", got: "\(bytes.count) bytes")
        }
        let length = UInt64(littleEndian: bytes.loadUnaligned(as: UInt64.self))
        guard length <= maximumHeaderBytes, 8 + Int(length) <= bytes.count else {
            throw malformed(
                path, "its header does not fit the file",
                expected: "at most \(min(maximumHeaderBytes, bytes.count - 8)) bytes",
                got: "\(length)", advice: "The file may be truncated; get it again.")
        }
        return 8 + Int(length)
    }

    private static func metadata(_ description: JSON?, _ path: String) throws -> [String: String] {
        guard let description else { return [:] }
        guard let members = description.object else {
            throw malformed(path, "__metadata__ is no object")
        }
        var metadata: [String: String] = [:]
        for (key, value) in members {
            guard let text = value.string else {
                throw malformed(path, "__metadata__: the value of \(key) is no string")
            }
            metadata[key] = text
        }
        return metadata
    }

    fileprivate static func malformed(
        _ path: String, _ problem: String, expected: String? = nil, got: String? = nil,
        advice: String? = nil
    ) -> LorikeetError {
        LorikeetError(.malformed, path, problem, expected: expected, got: got, advice: advice)
    }
}

/// One tensor as the header describes it: checked by itself, not yet against its neighbours.
private struct Entry {
    let name: String
    let type: TensorType
    let shape: [Int]
    let begin: Int
    let end: Int

    init(name: String, _ description: JSON, _ path: String) throws {
        func malformed(
            _ problem: String, expected: String? = nil, got: String? = nil
        ) -> LorikeetError {
            SafetensorsFile.malformed(
                path, "the tensor \(name): \(problem)", expected: expected, got: got)
        }
        guard let typeName = description["dtype"]?.string else { throw malformed("no dtype") }
        guard let type = TensorType(rawValue: typeName), type.isSafetensors else {
            throw LorikeetError(
                .unsupported, path, "the tensor \(name) has an unknown dtype", got: typeName)
        }
        guard let shape = description["shape"].flatMap(Self.naturals) else {
            throw malformed("its shape is no list of natural numbers")
        }
        guard let offsets = description["data_offsets"].flatMap(Self.naturals), offsets.count == 2,
            offsets[0] <= offsets[1]
        else { throw malformed("its data_offsets are not [begin, end]") }
        let bytes = type.byteCount(of: shape)
        guard bytes == offsets[1] - offsets[0] else {
            throw malformed(
                "its shape and its data differ in size",
                expected: bytes.map { "\($0) bytes for \(typeName) \(shape)" }
                    ?? "a shape that can be stored, not \(shape)",
                got: "\(offsets[1] - offsets[0])")
        }
        (self.name, self.type, self.shape) = (name, type, shape)
        (begin, end) = (offsets[0], offsets[1])
    }

    /// The elements of a list of integers that are written as such (not 1.0) and not negative.
    private static func naturals(_ list: JSON) -> [Int]? {
        guard let elements = list.array else { return nil }
        var naturals: [Int] = []
        for element in elements {
            guard case .int(let value) = element, value >= 0 else { return nil }
            naturals.append(value)
        }
        return naturals
    }
}

extension TensorType {
    /// Whether safetensors has this type; the others are ggml's blocks.
    var isSafetensors: Bool {
        switch self {
        case .q8_0, .q4_0, .q4_1, .q5_0, .q5_1, .q2_K, .q3_K, .q4_K, .q5_K, .q6_K, .iq4_nl: false
        default: true
        }
    }
}
