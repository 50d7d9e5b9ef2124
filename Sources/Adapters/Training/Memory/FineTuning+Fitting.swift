import LorikeetRuntime

extension FineTuning {
    /// The same run with passes so small that its plan stays within `maximumMemory`; itself without one.
    ///
    /// The fastest way that fits is taken: rather smaller chunks of logits than smaller passes, and rather
    /// smaller passes than blocks that run forward twice. The rows of an optimizer step stay the same, so
    /// the result differs by rounding only. It follows from its arguments alone: a run that is resumed
    /// goes on in the same way.
    ///
    /// - Throws: `.invalidArgument` where nothing fits, naming the smallest peak there is and its largest
    ///   part.
    public func fitted(_ base: MemoryPlan.Base, data: MemoryPlan.Data) throws -> FineTuning {
        try fitted(vocabulary: base.model.configuration.vocabularySize) {
            $0.memoryPlan(base, data: data)
        }
    }

    /// The same of any model.
    ///
    /// - vocabulary: how many logits a token has; nil for a model without.
    /// - plan: what the peak of a run will be made of.
    func fitted(
        vocabulary: Int?, plan: (FineTuning) throws -> MemoryPlan
    ) throws -> FineTuning {
        guard let maximum = options.maximumMemory else { return self }
        try options.training.validate()
        var smallest: MemoryPlan?
        for candidate in candidates(vocabulary: vocabulary) {
            let plan = try plan(candidate)
            if plan.peak <= maximum { return candidate }
            if plan.peak < smallest?.peak ?? .max { smallest = plan }
        }
        guard let smallest else { return self }
        let largest = smallest.largest
        throw LorikeetError(
            .invalidArgument, "--max-memory", "no way to train stays within it",
            expected: "at least \(ByteSize(bytes: smallest.peak)), \(smallest.peak) bytes",
            got: "\(ByteSize(bytes: maximum))",
            advice: "The largest part is the \(largest.rawValue): "
                + "\(ByteSize(bytes: smallest.parts[largest] ?? 0)). "
                + "A smaller --rank, --max-length or base takes less.")
    }

    /// All ways to run, the fastest first.
    private func candidates(vocabulary: Int?) -> [FineTuning] {
        let training = options.training
        let rows = training.batchSize * training.accumulate
        // Packs of another size hold other rows.
        let batches =
            training.batching == .packed
            ? [training.batchSize] : (1...training.batchSize).reversed().filter { rows % $0 == 0 }
        let chunks = lossChunks(vocabulary: vocabulary)
        return [false, true].filter { $0 || !options.recomputesBlocks }.flatMap { recomputes in
            batches.flatMap { batch in
                chunks.map { chunk in
                    var options = options
                    options.training.batchSize = batch
                    options.training.accumulate = rows / batch
                    options.recomputesBlocks = recomputes
                    options.lossChunk = chunk
                    return FineTuning(options: options)
                }
            }
        }
    }

    /// How many positions' logits there may be at once, the most first; nil for the usual number.
    private func lossChunks(vocabulary: Int?) -> [Int?] {
        guard let vocabulary else { return [options.lossChunk] }
        var last = options.lossChunk ?? TrainingPass.usualLossChunk(vocabulary: vocabulary)
        var chunks = [options.lossChunk]
        // Fewer rows than 16 would decode the projection's weights for next to nothing.
        while last > 16 {
            last = max(16, last / 2)
            chunks.append(last)
        }
        return chunks
    }

    /// How a fitted run goes, in a line.
    public func description(of plan: MemoryPlan) -> String {
        let training = options.training
        var text = "--batch-size \(training.batchSize) --accumulate \(training.accumulate)"
        if options.recomputesBlocks { text += " --gradient-checkpointing" }
        if let chunk = options.lossChunk { text += ", logits of \(chunk) positions at once" }
        let planned = "\(ByteSize(bytes: plan.peak)) of memory planned"
        return options.maximumMemory.map {
            "--max-memory \(ByteSize(bytes: $0)): \(text); \(planned)"
        } ?? "\(text); \(planned)"
    }
}
