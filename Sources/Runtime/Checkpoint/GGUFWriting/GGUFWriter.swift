public import OrderedCollections

/// A GGUF file being written: every tensor has its place beforehand and may come in any order.
///
/// Version 3, little-endian, aligned to 32 bytes: what `GGUFFile` describes. Tensors are floats.
public final class GGUFWriter {
    /// What the data of a tensor, and all data, begin on.
    static let alignment = 32

    private let output: OutputFile
    private var places: [String: (begin: Int, byteCount: Int)] = [:]
    private var awaited: Set<String>

    /// Writes a file through `body`, which must write every tensor once.
    ///
    /// - Parameters:
    ///   - path: the file; it appears when it is complete.
    ///   - metadata: in the order of the file.
    ///   - tensors: F32, F16 or BF16; shapes outermost dimension first, as everywhere here.
    ///   - body: calls `write` for every tensor.
    /// - Throws: what `body` throws; `.io`.
    public static func write(
        to path: String, metadata: OrderedDictionary<String, GGUFValue>,
        _ tensors: [TensorDescription], _ body: (GGUFWriter) throws -> Void
    ) throws {
        try AtomicOutput.file(at: path) { output in
            let writer = try GGUFWriter(output, metadata, tensors)
            try body(writer)
            precondition(
                writer.awaited.isEmpty, "the tensors \(writer.awaited.sorted()) were not written")
        }
    }

    private init(
        _ output: OutputFile, _ metadata: OrderedDictionary<String, GGUFValue>,
        _ tensors: [TensorDescription]
    ) throws {
        self.output = output
        awaited = Set(tensors.map(\.name))
        precondition(awaited.count == tensors.count, "the name of a tensor is repeated")
        func little(_ value: some FixedWidthInteger) -> [UInt8] { GGUFValue.little(value) }
        var header = Array("GGUF".utf8) + little(UInt32(3))
        header += little(UInt64(tensors.count)) + little(UInt64(metadata.count))
        for (key, value) in metadata { header += GGUFValue.counted(key.utf8) + value.bytes }
        var end = 0
        var starts: [Int] = []
        for tensor in tensors {
            guard let type = tensor.type.ggml else {
                preconditionFailure("\(tensor.type) is no type of ggml's")
            }
            header += GGUFValue.counted(tensor.name.utf8)
            header += little(UInt32(tensor.shape.count))
            for dimension in tensor.shape.reversed() { header += little(UInt64(dimension)) }
            header += little(type) + little(UInt64(end))
            starts.append(end)
            end += Self.aligned(tensor.byteCount)
        }
        header += repeatElement(0, count: Self.aligned(header.count) - header.count)
        for (tensor, start) in zip(tensors, starts) {
            places[tensor.name] = (header.count + start, tensor.byteCount)
            // The last bytes of a tensor's place: llama.cpp expects the padding of the last one too.
            let padding = Self.aligned(tensor.byteCount) - tensor.byteCount
            try [UInt8](repeating: 0, count: padding).withUnsafeBytes {
                try output.write($0, at: header.count + start + tensor.byteCount)
            }
        }
        try output.write(header)
    }

    private static func aligned(_ count: Int) -> Int {
        (count + alignment - 1) / alignment * alignment
    }

    /// Writes the bytes of the tensor called `name`.
    public func write(_ bytes: UnsafeRawBufferPointer, as name: String) throws {
        guard awaited.remove(name) != nil, let place = places[name] else {
            preconditionFailure("the tensor \(name) is not awaited")
        }
        precondition(
            bytes.count == place.byteCount,
            "\(bytes.count) bytes for \(name), not \(place.byteCount)")
        try output.write(bytes, at: place.begin)
    }
}
