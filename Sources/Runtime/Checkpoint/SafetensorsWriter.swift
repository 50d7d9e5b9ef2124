public import LorikeetQuant
import OrderedCollections

/// What a safetensors header says of one tensor.
public struct TensorDescription: Sendable, Equatable {
    /// The name.
    public var name: String
    /// A type of safetensors.
    public var type: TensorType
    /// Outermost dimension first.
    public var shape: [Int]

    /// Creates a description; a shape that cannot be stored traps.
    public init(name: String, type: TensorType, shape: [Int]) {
        precondition(type.isSafetensors, "\(type) is no type of safetensors")
        precondition(type.byteCount(of: shape) != nil, "\(name) of \(type) \(shape)")
        self.name = name
        self.type = type
        self.shape = shape
    }

    /// The bytes of its elements.
    public var byteCount: Int { type.byteCount(of: shape) ?? 0 }
}

/// A safetensors file being written: every tensor has its place beforehand and may come in any order.
///
/// The layout is the official library's: large types first, then by name, so that every tensor is
/// aligned; the header is padded with spaces to 8 bytes. Tensors whose size is known only when they
/// come follow at the end, with room for them left in the header.
public final class SafetensorsWriter {
    private let output: OutputFile
    private let metadata: JSON
    /// Known from the beginning, so that the data can go to its place before the header is written.
    private let headerBytes: Int
    private var tensors: [TensorDescription]
    private var places: [String: (begin: Int, byteCount: Int)] = [:]
    private var limits: [String: Int]
    private var awaited: Set<String>
    private var dataEnd = 0

    /// Writes a file through `body`, which must write every tensor once.
    ///
    /// - Parameters:
    ///   - path: the file; it appears when it is complete.
    ///   - tensors: the tensors of known size.
    ///   - variable: byte tensors (U8) of unknown size, each with the most it may take.
    ///   - metadata: `__metadata__`.
    ///   - body: calls `write` for every tensor.
    /// - Throws: what `body` throws; `.io`.
    public static func write(
        to path: String, _ tensors: [TensorDescription], variable: [String: Int] = [:],
        metadata: [String: String] = ["format": "pt"], _ body: (SafetensorsWriter) throws -> Void
    ) throws {
        try AtomicOutput.file(at: path) { output in
            let writer = SafetensorsWriter(output, tensors, variable, metadata)
            try body(writer)
            try writer.finish()
        }
    }

    private init(
        _ output: OutputFile, _ tensors: [TensorDescription], _ variable: [String: Int],
        _ metadata: [String: String]
    ) {
        self.output = output
        self.metadata = .object(
            OrderedDictionary(
                uniqueKeysWithValues: metadata.sorted { $0.key < $1.key }.map { ($0, .string($1)) })
        )
        self.tensors = tensors.sorted {
            $0.type == $1.type
                ? $0.name.utf8.lexicographicallyPrecedes($1.name.utf8)
                : $0.type.safetensorsRank > $1.type.safetensorsRank
        }
        for tensor in self.tensors {
            places[tensor.name] = (dataEnd, tensor.byteCount)
            dataEnd += tensor.byteCount
        }
        limits = variable
        awaited = Set(places.keys).union(variable.keys)
        precondition(
            awaited.count == tensors.count + variable.count, "the name of a tensor is repeated")
        // Numbers only get shorter when a tensor is smaller than its limit: this header is the longest.
        let longest = variable.map { TensorDescription(name: $0, type: .u8, shape: [$1]) }
        headerBytes = Self.header(self.tensors + longest, self.metadata).count
    }

    /// Writes the bytes of the tensor called `name`.
    public func write(_ bytes: UnsafeRawBufferPointer, as name: String) throws {
        try output.write(bytes, at: place(bytes.count, name))
    }

    /// Writes the bytes of `tensor` as the tensor called `name`, and lets go of those that were written: an
    /// embedding alone may be a gigabyte.
    public func write(_ tensor: Tensor, as name: String) throws {
        let begin = place(tensor.bytes.count, name)
        for start in stride(from: 0, to: tensor.bytes.count, by: Self.partBytes) {
            let end = min(start + Self.partBytes, tensor.bytes.count)
            try output.write(
                UnsafeRawBufferPointer(rebasing: tensor.bytes[start..<end]), at: begin + start)
            tensor.releasePages(start..<end)
        }
    }

    private static let partBytes = 32 << 20

    /// Where in the file the `count` bytes of the tensor called `name` begin.
    private func place(_ count: Int, _ name: String) -> Int {
        precondition(awaited.remove(name) != nil, "the tensor \(name) is not awaited")
        let begin: Int
        if let place = places[name] {
            precondition(
                count == place.byteCount, "\(count) bytes for \(name), not \(place.byteCount)")
            begin = place.begin
        } else {
            precondition(count <= limits[name] ?? 0, "\(count) bytes for \(name)")
            tensors.append(TensorDescription(name: name, type: .u8, shape: [count]))
            begin = dataEnd
            dataEnd += count
        }
        return 8 + headerBytes + begin
    }

    /// Writes elements as the tensor called `name`.
    public func write<Element: BitwiseCopyable>(_ elements: [Element], as name: String) throws {
        try elements.withUnsafeBytes { try write($0, as: name) }
    }

    /// Writes a buffer as the tensor called `name`.
    public func write<Element>(_ buffer: Buffer<Element>, as name: String) throws {
        try withExtendedLifetime(buffer) {
            try write(UnsafeRawBufferPointer(buffer.elements), as: name)
        }
    }

    private func finish() throws {
        precondition(awaited.isEmpty, "the tensors \(awaited.sorted()) were not written")
        var header = Self.header(tensors, metadata)
        header += repeatElement(UInt8(ascii: " "), count: headerBytes - header.count)
        let length = withUnsafeBytes(of: UInt64(headerBytes).littleEndian) { Array($0) }
        try (length + header).withUnsafeBytes { try output.write($0, at: 0) }
    }

    /// The header of tensors whose data lie in that order, padded to 8 bytes.
    private static func header(_ tensors: [TensorDescription], _ metadata: JSON) -> [UInt8] {
        var members: OrderedDictionary<String, JSON> = ["__metadata__": metadata]
        var position = 0
        for tensor in tensors {
            let end = position + tensor.byteCount
            members[tensor.name] = [
                "dtype": .string(tensor.type.rawValue),
                "shape": .array(tensor.shape.map { .int($0) }),
                "data_offsets": [.int(position), .int(end)],
            ]
            position = end
        }
        let text = Array(JSON.object(members).text().utf8)
        return text + repeatElement(UInt8(ascii: " "), count: (8 - text.count % 8) % 8)
    }
}

extension TensorType {
    /// The place among the types, which the official library sorts by, largest first.
    fileprivate var safetensorsRank: Int {
        let ascending: [TensorType] = [
            .bool, .f4, .f6e2m3, .f6e3m2, .u8, .i8, .f8e5m2, .f8e4m3, .f8e8m0, .f8e4m3fnuz,
            .f8e5m2fnuz, .i16, .u16, .f16, .bf16, .i32, .u32, .f32, .c64, .f64, .i64, .u64,
        ]
        return ascending.firstIndex(of: self) ?? -1
    }
}
