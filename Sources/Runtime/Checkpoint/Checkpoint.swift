public import Foundation
public import LorikeetQuant

/// A model's weights and configuration in files: mapped, read on demand, never written.
///
/// Whatever the format on disk, tensors have the names, shapes and row order of a Hugging Face
/// checkpoint, and the configuration is the config.json that transformers would write for it.
public protocol Checkpoint: Sendable {
    /// The folder or file it was opened from.
    var path: String { get }

    /// config.json; for GGUF, what transformers would write for it.
    var configuration: JSON { get }

    /// The weights' Hugging Face names; the parts that a 4-bit weight is stored in are not listed.
    var tensorNames: [String] { get }

    /// A tensor as it is stored: mapped, in the file's own type.
    ///
    /// - Throws: `.notFound`.
    func tensor(_ name: String) throws -> Tensor

    /// What a tensor holds, outermost dimension first, whatever it is stored in.
    ///
    /// - Throws: `.notFound`, `.malformed`.
    func shape(of name: String) throws -> [Int]

    /// How `weights` holds a matrix, from the files' headers alone.
    ///
    /// - Throws: `.notFound`, `.malformed`; `.mismatch` for a tensor that is no matrix.
    func layout(of name: String) throws -> WeightLayout

    /// A matrix as the kernels read it: floats and 4-bit codes mapped in place, GGUF's quantized types
    /// dequantized to fp32 on each call.
    ///
    /// - Throws: `.notFound`, `.malformed`, `.unsupported`; `.mismatch` when the tensor is not
    ///   [rows, columns].
    func weights(_ name: String, rows: Int, columns: Int) throws -> WeightMatrix

    /// A vector as fp32: a norm's weights.
    ///
    /// - Throws: as `weights`.
    func vector(_ name: String, count: Int) throws -> Buffer<Float>

    /// Writes a whole tensor as fp32, row-major.
    ///
    /// - Parameters:
    ///   - name: the tensor.
    ///   - output: as many elements as `shape(of:)` says.
    /// - Throws: as `weights`.
    func floats(_ name: String, into output: UnsafeMutablePointer<Float>) throws

    /// A file that lies beside the weights (tokenizer.json, generation_config.json); nil without one.
    func file(_ name: String) throws -> Data?
}

extension Checkpoint {
    /// A vector as fp32.
    public func vector(_ name: String, count: Int) throws -> Buffer<Float> {
        try require(name, shape: [count])
        let buffer = Buffer<Float>(count)
        try floats(name, into: buffer.pointer)
        return buffer
    }

    /// How the floats of a matrix are held.
    public func layout(of name: String) throws -> WeightLayout {
        try tensor(name).layout(path: path)
    }

    /// Throws `.mismatch` unless the tensor has that shape.
    func require(_ name: String, shape: [Int]) throws {
        let got = try self.shape(of: name)
        guard got == shape else {
            throw LorikeetError(
                .mismatch, path, "the tensor \(name) has another shape than config.json says",
                expected: "\(shape)", got: "\(got)")
        }
    }

    func missing(_ name: String) -> LorikeetError {
        LorikeetError(.notFound, path, "there is no tensor \(name)")
    }
}

/// Opens checkpoints of any format.
public enum Checkpoints {
    /// Opens a Hugging Face folder, or a .gguf file.
    ///
    /// - Throws: `.notFound`, `.malformed`, `.unsupported`.
    public static func open(_ path: String) throws -> any Checkpoint {
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
            throw LorikeetError(.notFound, path, "there is no such file or folder")
        }
        if isFolder.boolValue { return try HuggingFaceFolder(path: path) }
        guard path.hasSuffix(".gguf") else {
            throw LorikeetError(
                .unsupported, path, "not a checkpoint",
                expected: "a Hugging Face folder or a .gguf file")
        }
        return try GGUFCheckpoint(path: path)
    }
}
