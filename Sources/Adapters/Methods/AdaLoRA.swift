/// AdaLoRA: ΔW = P diag(E) Q, of whose triplets, a column of P, an element of E and a row of Q, the
/// least important over all layers are switched off until a budget is met.
///
/// The model knows A = Q and B = P diag(E). E begins at zero and P with normal elements of deviation
/// 0.02; Q is A's start. Triplets that are left out at the end are not saved.
/// Source: Zhang et al., "AdaLoRA: Adaptive Budget Allocation for Parameter-Efficient Fine-Tuning" (ICLR
/// 2023, arXiv 2303.10512), algorithm 1; PEFT's `AdaLoraModel` for what the paper leaves open.
public struct AdaLoRA: Method {
    /// How the budget falls, and what importance is.
    public struct Options: Sendable, Equatable {
        /// The mean rank at the end; nil for two thirds of the rank at the start.
        public var targetRank: Int?
        /// Steps at the start that leave all triplets on; nil for a tenth of the run.
        public var warmup: Int?
        /// Steps at the end with the choice made; nil for a third of the run.
        public var final: Int?
        /// A choice at every how many steps.
        public var interval = 1

        /// The defaults.
        public init() {}
    }

    /// The budget of a run: b₀ triplets, then a cubic fall, then b₁.
    public struct Budget: Sendable, Equatable {
        /// Steps with all triplets.
        public let warmup: Int
        /// The step from which on the choice stands.
        public let end: Int
        /// Mean rank from there on.
        public let targetRank: Int
        /// A choice at every how many steps.
        public let interval: Int

        /// The budget of a run of `totalSteps` that begins with `rank`.
        public init(_ options: Options, rank: Int, totalSteps: Int) {
            // A choice needs a step to be made in.
            end = max(totalSteps - (options.final ?? totalSteps / 3), 1)
            warmup = min(options.warmup ?? totalSteps / 10, end - 1)
            targetRank = min(options.targetRank ?? max(rank * 2 / 3, 1), rank)
            interval = options.interval
        }

        /// How many triplets of `layers` of `rank` stay on after the step with this number, from 1, or nil
        /// where nothing is chosen then.
        public func triplets(after step: Int, layers: Int, rank: Int) -> Int? {
            let (first, last) = (layers * rank, layers * targetRank)
            guard step > warmup, step < end else { return step == end ? last : nil }
            guard step.isMultiple(of: interval) else { return nil }
            let rest = 1 - Double(step - warmup) / Double(end - warmup)
            return Int(Double(first - last) * rest * rest * rest + Double(last))
        }
    }

    private let options: Options
    private let totalSteps: Int
    private let seed: UInt64

    /// A method for a run of `totalSteps` whose P follows from `seed`.
    public init(_ options: Options = Options(), totalSteps: Int, seed: UInt64) {
        (self.options, self.totalSteps, self.seed) = (options, totalSteps, seed)
    }

    /// Its own optimizer: AdamW on P, E and Q.
    public func makeOptimizer(
        for adapter: TrainableAdapter, options: AdamW.Options
    )
        -> any Optimizer
    {
        AdaLoRAOptimizer(
            adapter, options: options,
            budget: Budget(self.options, rank: adapter.rank, totalSteps: totalSteps), seed: seed)
    }

    /// P, E, and what is remembered of P, E and Q.
    public func optimizerMemory(for shapes: [TrainableAdapter.Shape], rank: Int) -> Int {
        AdaLoRAOptimizer.memory(shapes, rank: rank)
    }
}
