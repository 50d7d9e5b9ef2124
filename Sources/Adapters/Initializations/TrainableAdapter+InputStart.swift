package import LorikeetQuant
package import LorikeetRuntime

extension TrainableAdapter {
    /// What the start looks at, at most.
    private static let maximumBatches = 64
    /// Tokens of one update: the cost is that of an eigenvalue problem of this size, per layer.
    private static let tokensOfUpdate = 256
    /// The least cosine between a direction and itself one update before at which it has settled.
    private static let settled = 0.99

    /// EVA: A begins as the principal directions of each layer's inputs on `rows`, B as zero.
    ///
    /// Rows go through the base in an order drawn by `seed`, some at a time, until the directions of every layer
    /// have settled (cosine 0.99 from one update to the next) or 64 updates are done. All layers keep
    /// the same rank: the paper's redistribution is not done, which is its ρ = 1.
    /// Source: Paischer et al., "One Initialization to Rule them All: Fine-tuning via Explained Variance
    /// Adaptation" (2024), algorithm 1; PEFT's `eva_config` with `rho=1`.
    ///
    /// - Returns: how many tokens were looked at.
    /// - Throws: what the model throws; `.invalidArgument` where the rows have too few tokens for the rank.
    package func startFromInputs(
        of rows: any TrainingRows, seed: UInt64, model: DecoderModel, compute: Compute
    ) throws -> Int {
        for module in modules { try requireRank(of: module) }
        var inputs: [ModulePath: InputDirections] = [:]
        var unsettled = Set<ModulePath>()
        // Layers with one input have one set of directions, under the first of them.
        var shared: [ModulePath: ModulePath] = [:]
        let pass = TrainingPass(
            model: model, compute: compute, maximumTokens: Self.tokensOfUpdate,
            recomputesBlocks: true)
        var tokens = 0
        var batches = 0
        var order = RowOrder(count: rows.count, shuffledBy: seed)
        var position = 0
        while batches < Self.maximumBatches, batches == 0 || !unsettled.isEmpty,
            let batch = try Self.nextBatch(of: rows, order: &order, from: &position)
        {
            batches += 1
            tokens += batch.reduce(0) { $0 + $1.inputIDs.count }
            try pass.observeInputs(batch) { paths, x, count, width in
                let wanted = paths.filter { self.delta(at: $0) != nil }
                guard let first = wanted.first else { return }
                for path in wanted { shared[path] = first }
                // Twice the rank: what is dropped early may turn out to matter.
                var directions =
                    inputs[first]
                    ?? InputDirections(count: min(2 * self.rank, width), columns: width)
                let before = directions.directions(self.rank)
                directions.add(UnsafeBufferPointer(start: x, count: count * width))
                if Self.haveSettled(
                    from: before, to: directions.directions(self.rank), columns: width)
                {
                    unsettled.remove(first)
                } else {
                    unsettled.insert(first)
                }
                inputs[first] = directions
            }
        }
        for module in modules {
            guard let key = shared[module.path],
                let directions = inputs[key]?.directions(rank)
            else {
                throw LorikeetError(
                    .invalidArgument, "--init eva",
                    "the data has too few different tokens for this rank",
                    expected: "\(rank) independent inputs of \(module.path)",
                    got: "fewer, in \(tokens) tokens", advice: "Give more data or a lower --rank.")
            }
            for (index, value) in directions.enumerated() { module.delta.a[index] = Float(value) }
        }
        return tokens
    }

    /// As many rows as fill an update, the last of them cut; nil when all have been looked at.
    private static func nextBatch(
        of rows: any TrainingRows, order: inout RowOrder, from position: inout Int
    ) throws -> [TrainingRow]? {
        var batch: [TrainingRow] = []
        var room = tokensOfUpdate
        while room > 0, position < rows.count {
            let row = try rows.row(at: order.row(at: position))
            position += 1
            let ids = Array(row.inputIDs.prefix(room))
            batch.append(TrainingRow(inputIDs: ids, labels: Array(row.labels.prefix(room))))
            room -= ids.count
        }
        return batch.isEmpty ? nil : batch
    }

    private static func haveSettled(
        from before: [Double]?, to after: [Double]?, columns: Int
    )
        -> Bool
    {
        guard let before, let after else { return false }
        return stride(from: 0, to: after.count, by: columns).allSatisfy { begin in
            let dot = (begin..<begin + columns).reduce(0) { $0 + before[$1] * after[$1] }
            return abs(dot) > settled
        }
    }
}
