import Foundation
public import LorikeetQuant
import OrderedCollections

/// Writes a model as a GGUF file of floats, which llama.cpp loads; one tensor is in memory at a time.
///
/// A model that came from a GGUF file keeps that file's metadata, vocabulary and all. Of another the vocabulary
/// is converted (`GGUFVocabulary`).
///
/// - Parameters:
///   - source: the weights; 4-bit ones are dequantized.
///   - original: the checkpoint that the weights come from, whose metadata or vocabulary is written.
///   - path: the file; it appears when it is complete.
///   - type: of the matrices, F32, F16 or BF16; vectors are F32, as llama.cpp wants them.
///   - replace: whether an existing file is replaced.
///   - compute: what to run on.
///   - progress: called after every tensor.
/// - Returns: what was written.
/// - Throws: `.unsupported` for an architecture, a tensor or a vocabulary that is not written; `.exists`, `.io`.
@discardableResult
public func exportGGUF(
    _ source: any Checkpoint, from original: any Checkpoint, to path: String, type: TensorType,
    replace: Bool, compute: Compute, progress: (QuantizeProgress) -> Void = { _ in }
) throws -> ExportReport {
    try AtomicOutput.requireAbsent(path, unless: replace)
    let architecture = try GGUFModelLayout(source)
    // Checks that every matrix is there and has the shape that config.json says.
    _ = try DecoderModel.memory(of: source, precision: .fp32)
    var tensors: [TensorDescription] = []
    var names: [String] = []
    for name in source.tensorNames where !architecture.leavesOut(name) {
        guard let stored = architecture.tensorName(of: name) else {
            throw LorikeetError(
                .unsupported, source.path, "the tensor \(name) has no place in a GGUF file",
                expected: "a tensor of the \(architecture.name) architecture")
        }
        let shape = try source.shape(of: name)
        names.append(name)
        tensors.append(
            TensorDescription(name: stored, type: shape.count == 2 ? type : .f32, shape: shape))
    }
    let factors = architecture.ropeFactors()
    tensors += factors.map {
        TensorDescription(name: $0.name, type: .f32, shape: [$0.factors.count])
    }
    let metadata = try ggufMetadata(of: original, architecture, type: type)
    try GGUFWriter.write(to: path, metadata: metadata, tensors) { file in
        for (index, name) in names.enumerated() {
            let tensor = tensors[index]
            let floats = Buffer<Float>(uninitialized: tensor.shape.reduce(1, *))
            try source.floats(name, into: floats.pointer)
            try architecture.stored(floats, of: name, columns: tensor.shape.last ?? 1)
                .withBytes(as: tensor.type, of: name, on: compute) {
                    try file.write($0, as: tensor.name)
                }
            try source.tensor(name).releasePages()
            progress(QuantizeProgress(tensors: index + 1, total: names.count, name: name))
        }
        for (name, factors) in factors {
            try factors.withBytes(as: .f32, of: name, on: compute) { try file.write($0, as: name) }
        }
    }
    return ExportReport(
        tensors: tensors.count, parameters: tensors.reduce(0) { $0 + $1.shape.reduce(1, *) },
        bytes: try MappedFile(path: path).bytes.count)
}

/// What exporting a model wrote.
public struct ExportReport: Sendable, Equatable {
    /// Tensors.
    public var tensors: Int
    /// Their elements.
    public var parameters: Int
    /// Bytes of the files that hold them.
    public var bytes: Int

    /// Creates a report.
    public init(tensors: Int, parameters: Int, bytes: Int) {
        self.tensors = tensors
        self.parameters = parameters
        self.bytes = bytes
    }
}

private func ggufMetadata(
    of original: any Checkpoint, _ architecture: GGUFModelLayout, type: TensorType
) throws -> OrderedDictionary<String, GGUFValue> {
    if let gguf = original as? GGUFCheckpoint {
        var values = try gguf.gguf.storedMetadata()
        // Those say how the original's tensors are stored.
        for key in [
            "general.alignment", "general.quantization_version", "split.no", "split.count",
            "split.tensors.count",
        ] { values[key] = nil }
        for key in values.keys where key.hasPrefix("quantize.") { values[key] = nil }
        values["general.file_type"] = GGUFModelLayout.fileType(type)
        return values
    }
    let title = (original.path as NSString).standardizingPath
    var values = architecture.metadata(
        name: (title as NSString).lastPathComponent, type: type)
    let vocabulary = try GGUFVocabulary(
        TokenizerFiles(original), configuration: original.configuration, source: original.path)
    values.merge(vocabulary.metadata) { $1 }
    return values
}
