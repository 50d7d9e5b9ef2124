public import Foundation
public import LorikeetQuant

/// A GGUF file seen as a Hugging Face checkpoint.
///
/// For Llama, llama.cpp rotates neighbouring elements of a head where Hugging Face rotates halves, so its
/// converter stores the rows of q and k in another order: row h·D + 2i + j of the file is row
/// h·D + j·D/2 + i of the checkpoint, for head h of width D, i < D/2 and j < 2. They are put back here, and
/// 1 is taken off Gemma's norms, to which the converter adds it.
public struct GGUFCheckpoint: Checkpoint {
    /// The file.
    public let path: String
    /// What transformers would write as config.json.
    public let configuration: JSON
    /// The Hugging Face names, in the file's order.
    public let tensorNames: [String]
    /// The file itself, with the metadata that the tokenizer is made from.
    public let gguf: GGUFFile
    private let tensors: [String: Tensor]
    private let architecture: GGUFArchitecture
    private let headCounts: [GGUFTensorName.RowOrder: Int]

    /// Maps the file at `path`.
    ///
    /// - Throws: `.notFound`, `.malformed`; `.unsupported` for another architecture.
    public init(path: String) throws {
        self.path = path
        gguf = try GGUFFile(path: path)
        let metadata = try GGUFConfiguration(gguf)
        configuration = metadata.json
        architecture = metadata.architecture
        headCounts = [.queryHeads: metadata.headCount, .keyValueHeads: metadata.keyValueHeadCount]
        var names: [String] = []
        var tensors: [String: Tensor] = [:]
        for tensor in gguf.tensors where !GGUFTensorName.isConfiguration(tensor.name) {
            guard let name = GGUFTensorName(tensor.name, in: architecture) else {
                throw LorikeetError(
                    .unsupported, path,
                    "the tensor \(tensor.name) is none of the \(architecture) architecture's")
            }
            names.append(name.huggingFace)
            tensors[name.huggingFace] = tensor
        }
        tensorNames = names
        self.tensors = tensors
    }

    /// The tensor as the file stores it: q and k in llama.cpp's row order, under the file's name.
    public func tensor(_ name: String) throws -> Tensor {
        guard let tensor = tensors[name] else { throw missing(name) }
        return tensor
    }

    /// The tensor's shape.
    public func shape(of name: String) throws -> [Int] { try tensor(name).shape }

    /// How the matrix is held: in place for floats in the checkpoint's row order, else as fp32.
    public func layout(of name: String) throws -> WeightLayout {
        let tensor = try tensor(name)
        var layout = try tensor.layout(path: path)
        if GGUFTensorName(tensor.name, in: architecture)?.rowOrder != .asStored {
            (layout.storage, layout.isMapped) = (.floats(bytes: 4), false)
        }
        return layout
    }

    /// The matrix: in place for floats in the checkpoint's row order, else dequantized to fp32.
    public func weights(_ name: String, rows: Int, columns: Int) throws -> WeightMatrix {
        try require(name, shape: [rows, columns])
        let tensor = try tensor(name)
        if GGUFTensorName(tensor.name, in: architecture)?.rowOrder == .asStored {
            return try tensor.weightMatrix(rows: rows, columns: columns, path: path)
        }
        let buffer = Buffer<Float>(rows * columns)
        try floats(name, into: buffer.pointer)
        return WeightMatrix(floats: buffer, rows: rows, columns: columns)
    }

    /// The tensor as fp32, rows in the checkpoint's order.
    public func floats(_ name: String, into output: UnsafeMutablePointer<Float>) throws {
        let tensor = try tensor(name)
        let order = GGUFTensorName(tensor.name, in: architecture)?.rowOrder ?? .asStored
        guard let headCount = headCounts[order] else {
            try tensor.floats(into: output, path: path)
            if architecture.addsOneToNorms, name.hasSuffix("norm.weight") {
                for i in 0..<tensor.count { output[i] -= 1 }
            }
            return
        }
        guard tensor.shape.count == 2, tensor.shape[0] % (2 * headCount) == 0 else {
            throw LorikeetError(
                .mismatch, path, "the tensor \(tensor.name) does not divide into heads",
                expected: "a multiple of 2 × \(headCount) rows", got: "\(tensor.shape)")
        }
        guard tensor.count > 0 else { return }
        let headSize = tensor.shape[0] / headCount
        let columns = tensor.shape[1]
        for row in 0..<tensor.shape[0] {
            let target = GGUFTensorName.RowOrder.checkpointRow(at: row, headSize: headSize)
            try tensor.row(row).floats(into: output + target * columns, path: path)
        }
    }

    /// nil: a GGUF file has no other files beside it.
    public func file(_ name: String) throws -> Data? { nil }
}

extension Tensor {
    /// Row `index` of a matrix whose rows are whole blocks.
    fileprivate func row(_ index: Int) -> Tensor {
        let rowBytes = bytes.count / shape[0]
        let slice = bytes[index * rowBytes..<(index + 1) * rowBytes]
        return Tensor(
            name: name, type: type, shape: [shape[1]],
            bytes: UnsafeRawBufferPointer(rebasing: slice),
            owner: owner)
    }
}
