public import Foundation
public import LorikeetQuant

extension TensorType {
    /// The type that config.json gives a model's floats (`dtype`, or up to transformers 4 `torch_dtype`); bf16
    /// where it gives none.
    public static func floats(of configuration: JSON) -> TensorType {
        switch (configuration["dtype"] ?? configuration["torch_dtype"])?.string {
        case "float32": .f32
        case "float16": .f16
        default: .bf16
        }
    }
}

/// Writes a model as a plain Hugging Face folder of floats; one tensor is in memory at a time.
///
/// 4-bit weights are dequantized, and `quantization_config` is left out of config.json.
///
/// - Parameters:
///   - source: the weights.
///   - output: the folder; it appears when it is complete.
///   - type: of every tensor, F32, F16 or BF16.
///   - replace: whether an existing output is replaced.
///   - compute: what to run on.
///   - tokenizerFiles: tokenizer.json and others by name, for a source that has no such files.
///   - shardLimit: bytes of tensors after which another file begins, transformers' 5 GB by default.
///   - progress: called after every tensor.
/// - Returns: what was written.
/// - Throws: `.exists`, `.io`; what reading the weights throws.
@discardableResult
public func exportFloatFolder(
    _ source: any Checkpoint, to output: String, type: TensorType, replace: Bool, compute: Compute,
    tokenizerFiles: [String: Data] = [:], shardLimit: Int = 5_000_000_000,
    progress: (QuantizeProgress) -> Void = { _ in }
) throws -> ExportReport {
    let plan = try QuantizationPlan(floatsOf: source, dtype: type)
    return try plan.write(
        source, copied: nil, to: output, replace: replace, compute: compute,
        tokenizerFiles: tokenizerFiles, shardLimit: shardLimit, progress: progress)
}

/// Writes a model as a 4-bit folder like `base`, whose weights it has but for those that are changed.
///
/// What is in 4 bits there is in 4 bits here: a changed weight is quantized anew, the others are copied byte for
/// byte.
///
/// - Parameters: as `exportFloatFolder`; `isChanged` says which weights differ from the base's.
/// - Throws: as `exportFloatFolder`; `.malformed` for weights with NaN or infinity.
@discardableResult
public func exportQuantizedFolder(
    _ source: any Checkpoint, like base: HuggingFaceFolder, to output: String, type: TensorType,
    configuration: QuantizationConfiguration, replace: Bool, compute: Compute,
    tokenizerFiles: [String: Data] = [:], shardLimit: Int = 5_000_000_000,
    isChanged: (_ name: String) -> Bool, progress: (QuantizeProgress) -> Void = { _ in }
) throws -> ExportReport {
    let plan = try QuantizationPlan(
        requantizing: source, like: base, dtype: type, configuration: configuration,
        isChanged: isChanged)
    return try plan.write(
        source, copied: base, to: output, replace: replace, compute: compute,
        tokenizerFiles: tokenizerFiles, shardLimit: shardLimit, progress: progress)
}

extension QuantizationPlan {
    fileprivate func write(
        _ source: any Checkpoint, copied: HuggingFaceFolder?, to output: String, replace: Bool,
        compute: Compute, tokenizerFiles: [String: Data], shardLimit: Int,
        progress: (QuantizeProgress) -> Void
    ) throws -> ExportReport {
        var bytes = 0
        try AtomicOutput.folder(at: output, replace: replace) { folder in
            let writer = QuantizedWeightsWriter(
                self, source: source, copied: copied, compute: compute)
            _ = try writer.write(to: folder, shardLimit: shardLimit, progress: progress)
            bytes = writer.fileBytes
            try writeCompanionFiles(source: source, tokenizerFiles, to: folder)
        }
        return ExportReport(tensors: items.count, parameters: parameters, bytes: bytes)
    }
}
