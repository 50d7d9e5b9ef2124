import LorikeetQuant
import LorikeetRuntime
import OrderedCollections

/// A safetensors file whose tensors fill its data without gaps: an adapter's factors, or their planes.
///
/// ```
/// offset 0      UInt64, little-endian: the header's length
///        8      the header, JSON: {"__metadata__": {…}, NAME: {"dtype", "shape", "data_offsets"}, …}
///        8 + n  the tensors' bytes
/// ```
struct FactorFile: @unchecked Sendable {
    // Unchecked: the bytes are never written after the file has been made, and `owner` keeps them.

    /// The whole file.
    let bytes: UnsafeRawBufferPointer
    /// What keeps `bytes`.
    let owner: AnyObject
    /// Size of the JSON header.
    let headerSize: Int
    /// What `__metadata__` holds.
    let metadata: OrderedDictionary<String, JSON>
    /// The tensors, in the order of their bytes.
    let tensors: [Tensor]

    /// Headers beyond this are refused by safetensors' own reader too.
    static let maximumHeaderSize = 100_000_000

    /// Reads the header in `bytes`.
    ///
    /// - Throws: `.malformed` for a header that lies: offsets outside the data, overlapping, leaving gaps,
    ///   or of another size than type and shape make; `.unsupported` for an unknown type.
    init(bytes: UnsafeRawBufferPointer, owner: AnyObject, source: String) throws {
        func failure(
            _ problem: String, expected: String? = nil, got: String? = nil
        ) -> LorikeetError {
            LorikeetError(.malformed, source, problem, expected: expected, got: got)
        }
        guard bytes.count >= 8 else { throw failure("too short for a safetensors file") }
        let claimed = UInt64(littleEndian: bytes.loadUnaligned(as: UInt64.self))
        guard claimed <= Self.maximumHeaderSize, claimed <= bytes.count - 8 else {
            throw failure(
                "the safetensors header's length", expected: "at most \(bytes.count - 8)",
                got: "\(claimed)")
        }
        let headerSize = Int(claimed)
        let header = try JSON(
            parsing: UnsafeRawBufferPointer(rebasing: bytes[8..<8 + headerSize]), source: source)
        guard var members = header.object else { throw failure("the header is no JSON object") }
        let metadata = members.removeValue(forKey: "__metadata__")
        let data = UnsafeRawBufferPointer(rebasing: bytes[(8 + headerSize)...])
        var tensors: [(start: Int, tensor: Tensor)] = []
        for (name, entry) in members {
            guard let typeName = entry["dtype"]?.string,
                let shape = entry["shape"]?.array?.compactMap(\.int),
                shape.count == entry["shape"]?.array?.count, shape.allSatisfy({ $0 >= 0 }),
                let offsets = entry["data_offsets"]?.array?.compactMap(\.int), offsets.count == 2,
                0 <= offsets[0], offsets[0] <= offsets[1], offsets[1] <= data.count
            else {
                throw failure(
                    "the header's entry \(name)",
                    expected: "type, shape and offsets within the data",
                    got: entry.text())
            }
            guard let type = TensorType(rawValue: typeName), let width = type.factorWidth else {
                throw LorikeetError(
                    .unsupported, source, "the type of \(name)", expected: "F32, F16 or BF16",
                    got: typeName)
            }
            let size = shape.reduce((width, false)) { size, dimension in
                let (product, overflow) = size.0.multipliedReportingOverflow(by: dimension)
                return (product, size.1 || overflow)
            }
            guard !size.1, size.0 == offsets[1] - offsets[0] else {
                throw failure(
                    "the size of \(name)", expected: "\(typeName) \(shape)",
                    got: "\(offsets[1] - offsets[0]) bytes")
            }
            let content = UnsafeRawBufferPointer(rebasing: data[offsets[0]..<offsets[1]])
            tensors.append(
                (
                    offsets[0],
                    Tensor(name: name, type: type, shape: shape, bytes: content, owner: owner)
                ))
        }
        // By end, too: an empty tensor lies before the one that starts where it does.
        tensors.sort { ($0.start, $0.tensor.bytes.count) < ($1.start, $1.tensor.bytes.count) }
        var end = 0
        for (start, tensor) in tensors {
            guard start == end else {
                throw failure(
                    "the bytes of \(tensor.name)",
                    expected: "to start at \(end), where the last tensor ends",
                    got: "\(start)")
            }
            end += tensor.bytes.count
        }
        guard end == data.count else {
            throw failure("the data's size", expected: "\(end) bytes", got: "\(data.count)")
        }
        self.bytes = bytes
        self.owner = owner
        self.headerSize = headerSize
        self.metadata = metadata?.object ?? [:]
        self.tensors = tensors.map(\.tensor)
    }

    /// Lays out a file and fills each tensor through `fill`, which gets its index and its bytes.
    init(
        metadata: OrderedDictionary<String, JSON>,
        tensors: [(name: String, type: TensorType, shape: [Int])], source: String,
        fill: (Int, UnsafeMutableRawBufferPointer) -> Void
    ) throws {
        var header: OrderedDictionary<String, JSON> = ["__metadata__": .object(metadata)]
        var starts: [Int] = []
        var end = 0
        for tensor in tensors {
            starts.append(end)
            end += tensor.shape.reduce(tensor.type.factorWidth ?? 0, *)
            header[tensor.name] = [
                "dtype": .string(tensor.type.rawValue),
                "shape": .array(tensor.shape.map { .int($0) }),
                "data_offsets": [.int(starts[starts.count - 1]), .int(end)],
            ]
        }
        var text = Array(JSON.object(header).text().utf8)
        // Spaces up to a multiple of 8, as safetensors writes, so that the data are aligned.
        text += repeatElement(0x20, count: (8 - text.count % 8) % 8)
        let file = Buffer<UInt8>(8 + text.count + end)
        let raw = UnsafeMutableRawBufferPointer(file.elements)
        raw.storeBytes(of: UInt64(text.count).littleEndian, as: UInt64.self)
        UnsafeMutableRawBufferPointer(rebasing: raw[8...]).copyBytes(from: text)
        for (index, start) in starts.enumerated() {
            let last = index + 1 < starts.count ? starts[index + 1] : end
            let base = 8 + text.count
            fill(index, UnsafeMutableRawBufferPointer(rebasing: raw[base + start..<base + last]))
        }
        try self.init(bytes: UnsafeRawBufferPointer(raw), owner: file, source: source)
    }
}

extension TensorType {
    /// Bytes of an element, for the types that a factor or a plane can have.
    var factorWidth: Int? {
        switch self {
        case .f32: 4
        case .f16, .bf16: 2
        case .u8: 1
        }
    }
}
