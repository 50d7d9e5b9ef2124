import LorikeetQuant

/// The parts of a decoder outside its blocks that an adapter brings whole (PEFT's `modules_to_save`), as
/// passes use them; nil where the base's are left.
final class SavedModules: Sendable {
    /// `embed_tokens` [vocabulary, hidden].
    let embedding: WeightMatrix?
    /// `norm`, the one behind the blocks.
    let norm: RMSNorm?
    /// `lm_head` [vocabulary, hidden].
    let output: LinearWeight?
    /// Bytes beside the adapter's own tensors.
    let memory: Int

    /// What `deltas` brings to a model of these dimensions; nil if that is nothing.
    ///
    /// A base that ties its output projection to the embedding is untied by an adapter that brings one of the
    /// two: the other stays the base's, as in PEFT.
    init?(_ deltas: any LowRankDeltas, for model: ModelConfiguration, on compute: Compute) {
        let (C, V) = (model.hiddenSize, model.vocabularySize)
        let values = model.outerTensors.map { tensor in
            let values = deltas.tensor(tensor.name)
            precondition(
                values.map { $0.count == tensor.shape.reduce(1, *) } ?? true,
                "\(tensor.name) is not \(tensor.shape)")
            return values
        }
        guard values.contains(where: { $0 != nil }) else { return nil }
        embedding = values[0].map { WeightMatrix(floats: $0, rows: V, columns: C) }
        norm = values[1].map {
            RMSNorm(weight: $0, offset: model.normOffset, epsilon: model.normEpsilon)
        }
        output = values[2].map {
            LinearWeight(
                WeightMatrix(floats: $0, rows: V, columns: C), roundsFloats: true,
                on: compute.alone())
        }
        if case .tiled(let tiles) = output { memory = tiles.memory } else { memory = 0 }
    }
}

extension ModelConfiguration {
    /// The tensors outside the blocks, by their names in a checkpoint: an adapter may bring them whole.
    package var outerTensors: [(name: String, shape: [Int])] {
        [
            ("model.embed_tokens.weight", [vocabularySize, hiddenSize]),
            ("model.norm.weight", [hiddenSize]),
            ("lm_head.weight", [vocabularySize, hiddenSize]),
        ]
    }
}
