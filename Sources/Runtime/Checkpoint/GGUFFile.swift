public import OrderedCollections

/// A GGUF file of version 2 or 3, mapped: typed metadata, a table of tensors, their data.
///
///     "GGUF" │ u32 version │ u64 tensors │ u64 pairs
///     pairs × (name │ u32 type │ value)
///     tensors × (name │ u32 dimensions │ u64 each, innermost first │ u32 type │ u64 offset)
///     padding to the alignment │ data
///
/// Names and strings are a u64 count and bytes. Offsets count from the data's start, in multiples of
/// the alignment: `general.alignment`, or 32.
public struct GGUFFile: Sendable {
    /// The path it was opened from.
    public let path: String
    /// The format's version.
    public let version: Int
    /// The metadata, in the file's order.
    public let metadata: OrderedDictionary<String, JSON>
    /// How far the metadata reach into the file.
    let metadataByteCount: Int
    /// The tensors in the file's order; their shapes outermost dimension first.
    public let tensors: [Tensor]
    private let file: MappedFile

    /// Maps the file at `path` and checks its header.
    ///
    /// - Throws: `.notFound`, `.io`, `.malformed`; `.unsupported` for another version, a file in parts,
    ///   or a type of tensor that cannot be read.
    public init(path: String) throws {
        let file = try MappedFile(path: path)
        var cursor = GGUFCursor(file.bytes, path: path)
        self.file = file
        self.path = path
        version = try Self.version(&cursor, path)
        // The least a table's row or a pair takes: an empty name and what follows it.
        let tensorCount = try cursor.count(of: 1, "tensors")
        let pairCount = try cursor.count(of: 13, "metadata pairs")
        guard tensorCount <= cursor.remaining / 24 else {
            throw cursor.malformed("tensors do not fit the file", got: "\(tensorCount)")
        }

        var metadata: OrderedDictionary<String, JSON> = [:]
        for _ in 0..<pairCount {
            let key = try cursor.name("a metadata key")
            guard metadata.updateValue(try cursor.value(), forKey: key) == nil else {
                throw cursor.malformed("the metadata key \(key) is repeated")
            }
        }
        self.metadata = metadata
        metadataByteCount = file.bytes.count - cursor.remaining
        guard metadata["split.count"]?.int ?? 1 <= 1 else {
            throw LorikeetError(
                .unsupported, path, "the model is split over several files",
                advice: "Join them with llama.cpp's llama-gguf-split --merge.")
        }

        var rows: [GGUFTensorRow] = []
        var names: Set<String> = []
        for _ in 0..<tensorCount {
            let row = try GGUFTensorRow(&cursor, path: path)
            guard names.insert(row.name).inserted else {
                throw cursor.malformed("the tensor \(row.name) is repeated")
            }
            rows.append(row)
        }

        let alignment = try Self.alignment(metadata, cursor)
        let dataStart = (cursor.position + alignment - 1) / alignment * alignment
        // A file without tensors may end before the padding does.
        let data = UnsafeRawBufferPointer(
            rebasing: file.bytes[min(dataStart, file.bytes.count)...])
        try GGUFTensorRow.requireSound(
            rows, alignment: alignment, dataBytes: data.count, path: path)
        tensors = rows.map { row in
            Tensor(
                name: row.name, type: row.type, shape: row.shape,
                bytes: UnsafeRawBufferPointer(rebasing: data[row.begin..<row.end]), owner: file)
        }
    }

    /// The metadata once more, each value as the file stores it: for writing it into another file.
    ///
    /// - Throws: nothing that opening the file did not.
    func storedMetadata() throws -> OrderedDictionary<String, GGUFValue> {
        var cursor = GGUFCursor(file.bytes, path: path)
        _ = try Self.version(&cursor, path)
        _ = try cursor.count(of: 1, "tensors")
        let pairCount = try cursor.count(of: 13, "metadata pairs")
        var values: OrderedDictionary<String, GGUFValue> = [:]
        for _ in 0..<pairCount {
            let key = try cursor.name("a metadata key")
            let begin = cursor.position
            _ = try cursor.value()
            values[key] = GGUFValue(stored: Array(file.bytes[begin..<cursor.position]))
        }
        return values
    }

    private static func version(_ cursor: inout GGUFCursor, _ path: String) throws -> Int {
        let magic = try cursor.read(UInt32.self)
        guard magic == 0x4655_4747 else {  // "GGUF"
            throw LorikeetError(.malformed, path, "not a GGUF file: it does not begin with GGUF")
        }
        let version = try cursor.read(UInt32.self)
        guard version == 2 || version == 3 else {
            // A big-endian file's version is in the high bytes.
            throw LorikeetError(
                .unsupported, path, "the GGUF version is not one that Lorikeet reads",
                expected: "2 or 3, little-endian",
                got: version & 0xFFFF == 0 ? "\(version.byteSwapped), big-endian" : "\(version)")
        }
        return Int(version)
    }

    private static func alignment(
        _ metadata: OrderedDictionary<String, JSON>, _ cursor: GGUFCursor
    ) throws -> Int {
        guard let field = metadata["general.alignment"] else { return 32 }
        guard let alignment = field.int, (1...1 << 20).contains(alignment),
            alignment & (alignment - 1) == 0
        else {
            throw cursor.malformed(
                "general.alignment is not an alignment", expected: "a power of two",
                got: field.text())
        }
        return alignment
    }
}

/// One row of the table of tensors, checked by itself.
private struct GGUFTensorRow {
    let name: String
    let type: TensorType
    let shape: [Int]
    let begin: Int
    let end: Int

    init(_ cursor: inout GGUFCursor, path: String) throws {
        name = try cursor.name("a tensor's name")
        let dimensionCount = try cursor.read(UInt32.self)
        guard dimensionCount <= 4 else {
            throw cursor.malformed(
                "the tensor \(name) has too many dimensions", expected: "at most 4",
                got: "\(dimensionCount)")
        }
        var shape: [Int] = []
        for _ in 0..<dimensionCount {
            let dimension = try cursor.read(UInt64.self)
            guard let dimension = Int(exactly: dimension) else {
                throw cursor.malformed("the tensor \(name) has a dimension of \(dimension)")
            }
            shape.append(dimension)
        }
        shape.reverse()
        let typeNumber = try cursor.read(UInt32.self)
        guard let type = TensorType(ggml: typeNumber) else {
            throw LorikeetError(
                .unsupported, path, "the tensor \(name) has a type that Lorikeet does not read",
                expected: "F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K to Q6_K or IQ4_NL",
                got: "ggml type \(typeNumber)")
        }
        // Rows are whole blocks.
        guard let bytes = type.byteCount(of: shape), (shape.last ?? 1) % type.block.elements == 0
        else {
            throw cursor.malformed(
                "the tensor \(name) has a shape that \(type.rawValue) cannot store", got: "\(shape)"
            )
        }
        let offset = try cursor.read(UInt64.self)
        let end = Int(exactly: offset).map { $0.addingReportingOverflow(bytes) }
        guard let end, !end.overflow else {
            throw cursor.malformed("the tensor \(name) has an offset of \(offset)")
        }
        self.type = type
        self.shape = shape
        begin = end.partialValue - bytes
        self.end = end.partialValue
    }

    /// Throws unless every tensor is aligned, inside the data, and apart from the others.
    static func requireSound(
        _ rows: [GGUFTensorRow], alignment: Int, dataBytes: Int, path: String
    ) throws {
        var position = 0
        for row in rows.sorted(by: { ($0.begin, $0.end) < ($1.begin, $1.end) }) {
            func malformed(_ problem: String, expected: String, got: Int) -> LorikeetError {
                LorikeetError(
                    .malformed, path, "the tensor \(row.name) \(problem)", expected: expected,
                    got: "\(got)", advice: "The file may be truncated; get it again.")
            }
            guard row.begin % alignment == 0 else {
                throw malformed(
                    "is not aligned", expected: "a multiple of \(alignment)", got: row.begin)
            }
            guard row.begin >= position else {
                throw malformed(
                    "overlaps another", expected: "at least \(position)", got: row.begin)
            }
            guard row.end <= dataBytes else {
                throw malformed(
                    "ends past the file", expected: "at most \(dataBytes) bytes of data",
                    got: row.end)
            }
            position = row.end
        }
    }
}

extension TensorType {
    private static let ggmlNumbers: [TensorType: UInt32] = [
        .f32: 0, .f16: 1, .q4_0: 2, .q4_1: 3, .q5_0: 6, .q5_1: 7, .q8_0: 8, .q2_K: 10, .q3_K: 11,
        .q4_K: 12, .q5_K: 13, .q6_K: 14, .iq4_nl: 20, .i8: 24, .i16: 25, .i32: 26, .i64: 27,
        .f64: 28, .bf16: 30,
    ]
    private static let ggmlTypes = Dictionary(
        uniqueKeysWithValues: ggmlNumbers.map { ($1, $0) })

    /// The type of a number in ggml's enumeration.
    init?(ggml number: UInt32) {
        guard let type = Self.ggmlTypes[number] else { return nil }
        self = type
    }

    /// The type's number in ggml's enumeration; nil for one that ggml has not.
    var ggml: UInt32? { Self.ggmlNumbers[self] }
}
