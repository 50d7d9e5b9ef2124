public import Foundation
public import LorikeetQuant
public import LorikeetRuntime

/// An adapter put into its base's weights for good: W' = c ⊙ (W + s B A), stored as bf16 or again in 4 bits.
///
/// Storing rounds. Where the base is in 4 bits already, its weights lie on the grid that they are rounded to, and
/// a change smaller than half a step of it is rounded away: `survivals` tells how much is left, before anything
/// is written, and `Divergence` how far the result's predictions are from the unmerged model's.
///
/// ```swift
/// let merge = Merge(base, adapter, as: .nf4, on: compute)
/// let survivals = try merge.survivals()
/// try merge.requireSurvival(survivals)
/// try merge.write(to: "pirate-merged", tokenizerFiles: [:])
/// ```
public struct Merge: Sendable {
    /// What the merged weights are stored as.
    public enum Storage: String, Sendable, CaseIterable {
        /// Everything in bf16.
        case bf16
        /// The base's 4-bit weights in 4 bits, as the base has them; of a base of floats all that `quantize`
        /// quantizes, in NF4.
        case nf4
    }

    /// The share of an adapter's change below which a merge counts as having erased it.
    ///
    /// Half: what is left is then nearer to the base than to the adapter.
    public static let erasedShare = 0.5

    /// The merged weights.
    public let merged: MergedCheckpoint
    /// What they are stored as.
    public let storage: Storage
    private let compute: Compute
    private let adapter: Adapter

    /// The merge of `adapter`, which fits `base`, as `Adapters.read` checks.
    public init(
        _ base: any Checkpoint, _ adapter: Adapter, as storage: Storage, on compute: Compute
    ) {
        merged = MergedCheckpoint(base, adapter, on: compute)
        self.adapter = adapter
        self.storage = storage
        self.compute = compute
    }

    private var base: any Checkpoint { merged.base }

    /// What is left of the adapter in each of its layers; three copies of one layer in fp32 are in memory at a
    /// time.
    ///
    /// - Parameter progress: told the layers done, of how many.
    /// - Returns: one for each layer, in the model's order.
    /// - Throws: what reading the base throws; `.malformed` for merged weights that are not finite.
    public func survivals(
        progress: (_ done: Int, _ total: Int) -> Void = { _, _ in }
    ) throws -> [MergeSurvival] {
        let paths = adapter.deltas.keys.sorted()
        return try paths.enumerated().map { index, path in
            let name = "\(path).weight"
            let shape = try base.shape(of: name)
            let count = shape.reduce(1, *)
            let original = Buffer<Float>(uninitialized: count)
            try base.floats(name, into: original.pointer)
            let wanted = Buffer<Float>(uninitialized: count)
            try merged.floats(name, into: wanted.pointer)
            let (stored, reference) = try rounded(name, shape, original: original, wanted: wanted)
            let survival = MergeSurvival(
                path, rows: shape[0], original: original, wanted: wanted, stored: stored,
                reference: reference, on: compute)
            guard survival.change.isFinite, survival.kept.isFinite else {
                throw LorikeetError(
                    .malformed, adapter.name, "the merged weights of \(path) are not finite")
            }
            try base.tensor(name).releasePages()
            progress(index + 1, paths.count)
            return survival
        }
    }

    /// The merged weights as they are stored, and the base's as they would be.
    private func rounded(
        _ name: String, _ shape: [Int], original: Buffer<Float>, wanted: Buffer<Float>
    ) throws -> (stored: Buffer<Float>, reference: Buffer<Float>) {
        guard storage == .nf4 else {
            return (
                try floats(wanted, as: .bf16, of: name), try floats(original, as: .bf16, of: name)
            )
        }
        guard let folder = quantizedBase else {
            let configuration = QuantizationConfiguration()
            return (
                quantized(wanted, shape, configuration), quantized(original, shape, configuration)
            )
        }
        guard let configuration = try folder.quantization(of: name) else {
            return (try floats(wanted, as: .floats(of: folder.configuration), of: name), original)
        }
        // Weights in 4 bits are what they are rounded to, but for the rounding of their scales.
        return (quantized(wanted, shape, configuration), original)
    }

    /// The base, if it has weights in 4 bits.
    private var quantizedBase: HuggingFaceFolder? {
        (base as? HuggingFaceFolder).flatMap { $0.isQuantized ? $0 : nil }
    }

    private func floats(
        _ values: Buffer<Float>, as type: TensorType, of name: String
    ) throws -> Buffer<Float> {
        let rounded = Buffer<Float>(uninitialized: values.count)
        try values.withBytes(as: type, of: name, on: compute) { bytes in
            try Tensor(
                name: name, type: type, shape: [values.count], bytes: bytes, owner: values
            ).floats(into: rounded.pointer, path: base.path)
        }
        return rounded
    }

    private func quantized(
        _ values: Buffer<Float>, _ shape: [Int], _ configuration: QuantizationConfiguration
    ) -> Buffer<Float> {
        let matrix = QuantizedTensor(
            quantizing: UnsafeBufferPointer(values.elements), shape: shape,
            configuration: configuration, on: compute
        ).weightMatrix()
        let rounded = Buffer<Float>(uninitialized: values.count)
        compute.pool.split(shape[0]) { _, begin, end in
            for row in begin..<end {
                matrix.row(row, into: rounded.pointer + row * shape[1], on: compute)
            }
        }
        return rounded
    }

    /// Throws unless enough of the adapter is left.
    ///
    /// - Throws: `.mismatch` where the share of all layers together is below `erasedShare`.
    public func requireSurvival(_ survivals: [MergeSurvival]) throws {
        let share = MergeSurvival.share(of: survivals)
        guard share < Self.erasedShare else { return }
        func percent(_ share: Double) -> String { String(format: "%.1f %%", 100 * share) }
        throw LorikeetError(
            .mismatch, adapter.name, "merging as \(storage.rawValue) erases the adapter",
            expected: "at least \(percent(Self.erasedShare)) of its change to survive",
            got: percent(share),
            advice: storage == .nf4
                ? "Merge as bf16, keep the adapter beside its base, or pass --force."
                : "Keep the adapter beside its base, or pass --force.")
    }

    /// Writes the merged model as a Hugging Face folder; one tensor is in memory at a time.
    ///
    /// - Parameters:
    ///   - output: the folder; it appears when it is complete.
    ///   - tokenizerFiles: tokenizer.json and others by name, for a base that has no such files.
    ///   - replace: whether an existing output is replaced.
    ///   - progress: called after every tensor.
    /// - Returns: what was written.
    /// - Throws: `.exists`, `.io`; `.malformed` for merged weights that are not finite.
    @discardableResult
    public func write(
        to output: String, tokenizerFiles: [String: Data], replace: Bool = false,
        progress: (QuantizeProgress) -> Void = { _ in }
    ) throws -> ExportReport {
        switch storage {
        case .bf16:
            return try exportFloatFolder(
                merged, to: output, type: .bf16, replace: replace, compute: compute,
                tokenizerFiles: tokenizerFiles, progress: progress)
        case .nf4:
            let changed = merged.changedNames
            if let folder = quantizedBase {
                return try exportQuantizedFolder(
                    merged, like: folder, to: output, type: .floats(of: folder.configuration),
                    configuration: try changed.lazy.compactMap(folder.quantization).first
                        ?? QuantizationConfiguration(),
                    replace: replace, compute: compute, tokenizerFiles: tokenizerFiles,
                    isChanged: changed.contains, progress: progress)
            }
            let report = try quantize(
                source: merged, to: output, options: QuantizeOptions(), replace: replace,
                compute: compute, tokenizerFiles: tokenizerFiles, progress: progress)
            return ExportReport(
                tensors: merged.tensorNames.count, parameters: report.parameters,
                bytes: report.outputBytes)
        }
    }
}
