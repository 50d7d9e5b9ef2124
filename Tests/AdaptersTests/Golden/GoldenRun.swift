import Foundation
import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime
import TestSupport
import Testing

/// A recorded training run of 30 steps on SmolLM2 over its NF4 base, and how to repeat it.
///
/// The files are too big to commit. They are read from `LORIKEET_REFERENCE`, or from
/// `../shared/reference/golden` beside the checkout; the quantized base from `LORIKEET_NF4_BASE`, or
/// from `make models`.
struct GoldenRun {
    static let (steps, batch, rank, alpha) = (30, 4, 8, 16.0)

    /// The folder of recorded numbers, if it is there.
    static let reference =
        environment("LORIKEET_REFERENCE")
        ?? Fixtures.reference("train_init_A.safetensors").map {
            URL(fileURLWithPath: $0).deletingLastPathComponent()
        }

    /// The quantized base, if one is named: NF4 with double quantization, the rest fp32.
    static let base =
        environment("LORIKEET_NF4_BASE")
        ?? Fixtures.quantizedModel.map { URL(fileURLWithPath: $0) }

    private static func environment(_ name: String) -> URL? {
        ProcessInfo.processInfo.environment[name].map { URL(fileURLWithPath: $0) }
    }

    /// Whether a run can be repeated here.
    static var isAvailable: Bool { reference != nil && base != nil }

    let folder: URL
    let rows: [TrainingRow]
    private let start: GoldenFile

    init() throws {
        folder = try #require(Self.reference)
        let data = try GoldenFile(folder.appendingPathComponent("train_data.safetensors"))
        let (ids, width) = (data.int32s("input_ids"), data.shape("input_ids")[1])
        rows = stride(from: 0, to: ids.count, by: width).map {
            let row = Array(ids[$0..<$0 + width])
            return TrainingRow(inputIDs: row, labels: row)
        }
        start = try GoldenFile(folder.appendingPathComponent("train_init_A.safetensors"))
    }

    /// What was recorded of a method.
    func record(_ method: MethodName) throws -> JSON {
        let name = method.rawValue.replacing("-", with: "_")
        return try JSON(contentsOf: folder.appendingPathComponent("train_\(name).json").path)
    }

    /// The options of the recorded runs.
    func options(_ method: MethodName) -> TrainingOptions {
        var options = TrainingOptions()
        options.method = method
        options.length = .steps(Self.steps)
        options.batchSize = Self.batch
        options.learningRate = 1e-3
        options.schedule = .constant
        options.maximumGradientNorm = nil
        options.refactoringWarmup = 5
        options.shuffles = false
        return options
    }

    /// The recorded start for the layers of `shapes`: its A by PEFT's names, and B zero.
    func adapter(
        _ method: MethodName, shapes: [TrainableAdapter.Shape], norms: RowNorms
    ) -> TrainableAdapter {
        let adapter = TrainableAdapter(
            shapes: shapes, rank: Self.rank,
            scale: method.scale(rank: Self.rank, alpha: Self.alpha), seed: 0,
            norms: method.trainsMagnitudes ? norms : nil)
        for module in adapter.modules {
            let a = start.floats("base_model.model.\(module.path).lora_A.weight")
            _ = module.delta.a.elements.update(from: a)
        }
        return adapter
    }

    /// Trains as recorded and returns the metrics of every step.
    func run(
        _ method: MethodName, model: some LossAndGradients, adapter: TrainableAdapter,
        compute: Compute,
        afterStep: (StepMetrics) throws -> Trainer.Disposition = { _ in .proceed }
    ) throws -> [StepMetrics] {
        var steps: [StepMetrics] = []
        try Trainer(rows, options: options(method))
            .run(model, adapter: adapter, compute: compute) {
                steps.append($0)
                return try afterStep($0)
            }
        return steps
    }
}
