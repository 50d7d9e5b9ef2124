package import LorikeetQuant

/// NEFTune: uniform noise on the embeddings of a training row.
///
///     x ← x + u α / √(L d),  u uniform in ±1, for a row of L tokens of width d
///
/// The embeddings are frozen, so there is no backward pass. Source: Jain et al., "NEFTune: Noisy Embeddings
/// Improve Instruction Finetuning" (2023), algorithm 1.
package enum EmbeddingNoise {
    /// Adds the noise to the embeddings x [tokens, width] of `rows`, laid end to end.
    package static func add(
        _ alpha: Double, to x: UnsafeMutablePointer<Float>, width: Int, rows: [TrainingRow],
        keys: NoiseKeys, on compute: Compute
    ) {
        var start = 0
        for row in rows where !row.inputIDs.isEmpty {
            let count = row.inputIDs.count
            let bound = alpha / Double(count * width).squareRoot()
            compute.pool.split(count) { _, begin, end in
                for token in start + begin..<start + end {
                    var generator = SeededGenerator(
                        seed: keys.key(token: token, place: NoiseKeys.embedding))
                    for c in 0..<width {
                        x[token * width + c] += Float((2 * generator.uniform() - 1) * bound)
                    }
                }
            }
            start += count
        }
    }
}
