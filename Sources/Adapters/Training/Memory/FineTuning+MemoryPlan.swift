import LorikeetQuant
import LorikeetRuntime

extension FineTuning {
    /// What the peak of a run will be made of.
    ///
    /// - Parameters:
    ///   - base: the model's files, and what they run on.
    ///   - data: the rows.
    /// - Returns: bytes by part.
    public func memoryPlan(_ base: MemoryPlan.Base, data: MemoryPlan.Data) -> MemoryPlan {
        let configuration = base.model.configuration
        let shapes = TrainableAdapter.Shape.shapes(
            of: targets(in: configuration), in: configuration)
        let training = options.training
        let method = training.method.method(MethodSettings(totalSteps: 1))
        let subtractsStart = options.initialization == .pissa
        let adapter = TrainableAdapter.memory(
            shapes, rank: options.rank, method: method, subtractsStart: subtractsStart)
        // A copy of what is trained, of the step with the lowest validation loss.
        let keepsBest = options.validation != nil && training.validation.keepsBest
        let best =
            keepsBest
            ? shapes.flatMap {
                TrainableAdapter.parameterCounts($0, rank: options.rank, method: method)
            }.reduce(0) { $0 + Buffer<Float>.memory($1) } : 0
        let pass = TrainingPass.memory(
            base.model,
            TrainingPass.Dimensions(
                tokens: data.passTokens(training), longestRow: data.longestRow,
                rank: subtractsStart ? 2 * options.rank : options.rank,
                modules: targets(in: configuration),
                recomputesBlocks: options.recomputesBlocks, lossChunk: options.lossChunk,
                precision: base.precision, threads: base.threads,
                dropsInputs: training.regularization.dropout > 0,
                scalesOutputs: method.trainsMagnitudes))
        return MemoryPlan(
            [
                .weights: base.model.weights,
                .embedding: base.model.embeddingMemory(of: data.tokens),
                .factors: adapter.factors + best, .gradients: adapter.gradients,
                .moments: method.optimizerMemory(for: shapes, rank: options.rank),
                .activations: pass.activations, .logits: pass.logits, .attention: pass.attention,
                .lowRank: pass.lowRank
                    + method.scratchMemory(rank: options.rank, threads: base.threads)
                    + (method.trainsMagnitudes ? RowNorms.memory(shapes, rank: options.rank) : 0),
                .scratch: pass.scratch,
                .packing: AdapterBundle.packingMemory(factors: adapter.factors),
                .data: data.memory,
                .tokenizer: Tokenizer.memory(fileBytes: base.tokenizerFileBytes),
                .program: MemoryPlan.program,
            ],
            pass: [.activations, .logits, .attention, .lowRank, .scratch])
    }
}

extension MemoryPlan {
    /// Bytes of the program itself: the pages of code and tables that a run reads of it and its libraries,
    /// and what these allocate.
    ///
    /// Measured, for nothing tells it beforehand.
    static let program = 42_000_000
}
