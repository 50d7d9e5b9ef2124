import LorikeetQuant
import LorikeetRuntime
import OrderedCollections

/// A safetensors file whose tensors fill its data without gaps: an adapter's factors, or their planes.
struct FactorFile: @unchecked Sendable {
    // Unchecked: the bytes are never written after the file has been made, and `owner` keeps them.

    /// The whole file.
    let bytes: UnsafeRawBufferPointer
    /// What keeps `bytes`.
    let owner: AnyObject
    /// Size of the JSON header.
    let headerSize: Int
    /// What `__metadata__` holds.
    let metadata: [String: String]
    /// The tensors, in the order of their bytes.
    let tensors: [Tensor]

    /// Reads the header in `bytes`.
    ///
    /// - Throws: `.malformed` for a header that lies, `.unsupported` for an element type that neither a
    ///   factor nor a plane has.
    init(bytes: UnsafeRawBufferPointer, owner: AnyObject, source: String) throws {
        let file = try SafetensorsFile(bytes: bytes, owner: owner, path: source)
        for tensor in file.tensors {
            _ = try Self.width(of: tensor.type, tensor.name, source: source)
        }
        self.bytes = bytes
        self.owner = owner
        headerSize = Int(UInt64(littleEndian: bytes.loadUnaligned(as: UInt64.self)))
        metadata = file.metadata
        tensors = file.tensors
    }

    /// Bytes of an element of the tensor `name`.
    ///
    /// - Throws: `.unsupported` for a type that neither a factor nor a plane has.
    static func width(of type: TensorType, _ name: String, source: String) throws -> Int {
        guard let width = type.factorWidth else {
            throw LorikeetError(
                .unsupported, source, "the type of \(name)", expected: "F32, F16 or BF16",
                got: type.rawValue)
        }
        return width
    }

    /// Lays out a file and fills each tensor through `fill`, which gets its index and its bytes.
    init(
        metadata: [String: String],
        tensors: [(name: String, type: TensorType, shape: [Int])], source: String,
        fill: (Int, UnsafeMutableRawBufferPointer) -> Void
    ) throws {
        var header: OrderedDictionary<String, JSON> = [
            "__metadata__": .object(
                OrderedDictionary(
                    uniqueKeysWithValues: metadata.sorted { $0.key < $1.key }.map {
                        ($0.key, JSON.string($0.value))
                    }))
        ]
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
        default: nil
        }
    }
}
