public import Foundation
public import LorikeetQuant
import OrderedCollections

/// What to quantize and how.
public struct QuantizeOptions: Sendable {
    /// The 4-bit format.
    public var configuration: QuantizationConfiguration
    /// Tensors whose name contains one of these stay as they are.
    public var skip: [String]
    /// The type of what is not quantized: `.f32`, `.bf16` or `.f16`; nil for the source's.
    public var dtype: TensorType?

    /// QLoRA's format, nothing skipped, the source's type by default.
    public init(
        configuration: QuantizationConfiguration = QuantizationConfiguration(), skip: [String] = [],
        dtype: TensorType? = nil
    ) {
        self.configuration = configuration
        self.skip = skip
        self.dtype = dtype
    }
}

/// How far quantizing has come.
public struct QuantizeProgress: Sendable {
    /// Tensors done.
    public var tensors: Int
    /// Tensors in all.
    public var total: Int
    /// The tensor just done.
    public var name: String
}

/// What quantizing did.
public struct QuantizeReport: Sendable, Equatable {
    /// Weights of the model.
    public var parameters: Int
    /// Those of them that are in 4 bits.
    public var quantizedParameters: Int
    /// Bits of the output's tensors, scales and all, per parameter.
    public var bitsPerParameter: Double
    /// Bytes of the source's files that hold weights.
    public var inputBytes: Int
    /// Bytes of the output's files that hold weights.
    public var outputBytes: Int
    /// Wall-clock time.
    public var seconds: Double
}

/// Quantizes layers by other means than absmax: gets the names of all that are to be quantized, hands over each that
/// it quantizes, in any order, and returns files to lay beside the weights, by name.
public typealias LayerQuantizer = (
    _ names: Set<String>, _ take: (_ name: String, _ layer: QuantizedTensor) throws -> Void
) throws -> [String: Data]

/// Quantizes a checkpoint to a bitsandbytes 4-bit Hugging Face folder, one tensor in memory at a time.
///
/// All matrices are quantized but embeddings, norms and the output projection. The folder holds what
/// `transformers` and `bitsandbytes` would save, and is loaded by both.
///
/// - Parameters:
///   - source: an unquantized folder or a GGUF file.
///   - output: the folder; it appears when it is complete.
///   - options: format, exceptions, type of the rest.
///   - replace: whether an existing output is replaced.
///   - compute: what to run on.
///   - tokenizerFiles: tokenizer.json and others by name, for a source that has no such files.
///   - shardLimit: bytes of tensors after which another file begins, transformers' 5 GB by default.
///   - progress: called after every tensor.
/// - Returns: what was done.
/// - Throws: `.unsupported` for a quantized source, `.malformed` for one with NaN or infinity,
///   `.exists`, `.io`.
@discardableResult
public func quantize(
    source: any Checkpoint, to output: String, options: QuantizeOptions, replace: Bool,
    compute: Compute, tokenizerFiles: [String: Data] = [:], shardLimit: Int = 5_000_000_000,
    progress: (QuantizeProgress) -> Void = { _ in }
) throws -> QuantizeReport {
    try quantize(
        source: source, to: output, options: options, replace: replace, compute: compute,
        tokenizerFiles: tokenizerFiles
    ) { writer, folder in
        (try writer.write(to: folder, shardLimit: shardLimit, progress: progress), [:])
    }
}

/// The same with layers that `layers` quantizes; those it leaves out are quantized by absmax.
///
/// The weights are in one file: layers come in the order of a pass, which is not that of the names.
///
/// - Throws: as the other; what `layers` throws.
@discardableResult
public func quantize(
    source: any Checkpoint, to output: String, options: QuantizeOptions, replace: Bool,
    compute: Compute, tokenizerFiles: [String: Data] = [:], layers: LayerQuantizer
) throws -> QuantizeReport {
    try quantize(
        source: source, to: output, options: options, replace: replace, compute: compute,
        tokenizerFiles: tokenizerFiles
    ) { writer, folder in try writer.write(to: folder, layers: layers) }
}

private func quantize(
    source: any Checkpoint, to output: String, options: QuantizeOptions, replace: Bool,
    compute: Compute, tokenizerFiles: [String: Data],
    write: (QuantizedWeightsWriter, _ folder: String) throws -> (
        tensorBytes: Int, files: [String: Data]
    )
) throws -> QuantizeReport {
    let start = ContinuousClock.now
    let plan = try QuantizationPlan(source: source, options: options)
    var report = QuantizeReport(
        parameters: plan.parameters, quantizedParameters: plan.quantizedParameters,
        bitsPerParameter: 0, inputBytes: try source.tensorNames.map(source.tensor).fileBytes,
        outputBytes: 0, seconds: 0)
    var tensorBytes = 0
    try AtomicOutput.folder(at: output, replace: replace) { folder in
        let writer = QuantizedWeightsWriter(plan, source: source, compute: compute)
        let written = try write(writer, folder)
        tensorBytes = written.tensorBytes
        report.outputBytes = writer.fileBytes
        for (name, data) in written.files {
            try AtomicOutput.write(data, to: "\(folder)/\(name)")
        }
        try plan.writeCompanionFiles(source: source, tokenizerFiles, to: folder)
    }
    report.bitsPerParameter = 8 * Double(tensorBytes) / Double(max(plan.parameters, 1))
    report.seconds = (ContinuousClock.now - start) / .seconds(1)
    return report
}

extension QuantizationPlan {
    /// Writes everything in the folder but the weights.
    func writeCompanionFiles(
        source: any Checkpoint, _ tokenizerFiles: [String: Data], to folder: String
    ) throws {
        try AtomicOutput.write(configuration().fileData(), to: "\(folder)/config.json")
        let generation =
            try source.file("generation_config.json") ?? generationConfiguration().fileData()
        try AtomicOutput.write(generation, to: "\(folder)/generation_config.json")
        for name in [
            "tokenizer_config.json", "chat_template.jinja", "chat_template.json",
            "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt",
        ] + VocabularyFile.names {
            guard let data = try tokenizerFiles[name] ?? source.file(name) else { continue }
            try AtomicOutput.write(data, to: "\(folder)/\(name)")
        }
        for name in SentenceFiles.names {
            guard let data = try source.file(name) else { continue }
            let path = "\(folder)/\(name)"
            // What keeps it from being made keeps the file from being written.
            try? FileManager.default.createDirectory(
                atPath: (path as NSString).deletingLastPathComponent,
                withIntermediateDirectories: true)
            try AtomicOutput.write(data, to: path)
        }
    }
}

extension JSON {
    /// As transformers writes its JSON files: indented, with a newline at the end.
    func fileData() -> Data { data(pretty: true) + Data("\n".utf8) }
}
