import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime

/// Training steps of 256 × 4 tokens at rank 16 on all seven linear layers.
func measureTraining(_ checkpoint: any Checkpoint) throws -> [Row] {
    let compute = Compute(precision: .int16)
    let model = try DecoderModel(checkpoint: checkpoint, on: compute)
    let ceiling = Ceiling(compute)
    let weights = model.blockWeights + model.output.rows * model.output.columns
    // Ids in an order without meaning: the arithmetic does not depend on them.
    let vocabulary = Int32(model.configuration.vocabularySize)
    let rows = (0..<32).map { row in
        let ids = (0..<256).map { (Int32(row * 256 + $0) &* 7919 &+ 11) % vocabulary }
        return TrainingRow(inputIDs: ids, labels: ids)
    }
    func row(_ method: MethodName, recomputes: Bool) throws -> Row {
        var options = TrainingOptions()
        options.method = method
        options.length = .steps(5)
        options.batchSize = 4
        options.refactoringWarmup = 1
        let adapter = TrainableAdapter(
            shapes: TrainableAdapter.Shape.shapes(
                of: model.configuration.modules.all, in: model.configuration), rank: 16,
            scale: 2, seed: 0)
        let pass = TrainingPass(
            model: model, compute: compute, maximumTokens: 4 * 256, recomputesBlocks: recomputes)
        var speeds: [Double] = []
        try Trainer(rows, options: options).run(pass, adapter: adapter, compute: compute) {
            speeds.append($0.tokensPerSecond)
            return .proceed
        }
        // A weight multiplies forward and backward, and once more forward where blocks are recomputed.
        let operations = Double((recomputes ? 6 : 4) * weights)
        return Row(
            "train 256 × 4, \(method.rawValue)\(recomputes ? ", recomputing" : "")", on: compute,
            // The first step finds its memory untouched, and does not refactor.
            speeds.dropFirst().sorted()[(speeds.count - 1) / 2], "tokens/s",
            ceiling: ceiling.operations(.int16) / operations)
    }
    return [
        try row(.lora, recomputes: false), try row(.lora, recomputes: true),
        try row(.reflora, recomputes: false), try row(.refloraS, recomputes: false),
    ]
}
