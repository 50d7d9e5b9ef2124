import LorikeetQuant
import QuantKernels

/// The sum of a token's embeddings: word, and where the model has them position and type.
struct EncoderEmbeddings: Sendable {
    /// [vocabulary, hidden].
    let words: WeightMatrix
    /// [positions, hidden].
    let positions: WeightMatrix?
    /// [types, hidden].
    let tokenTypes: WeightMatrix?

    init(configuration: EncoderConfiguration, reader: EncoderReader) throws {
        words = try reader.table(
            "embeddings.word_embeddings", rows: configuration.vocabularySize)
        positions =
            configuration.embedsPositions
            ? try reader.table(
                "embeddings.position_embeddings", rows: configuration.maximumPositions) : nil
        tokenTypes =
            configuration.tokenTypeCount > 0
            ? try reader.table(
                "embeddings.token_type_embeddings", rows: configuration.tokenTypeCount) : nil
    }

    /// s = the sums of `rows`, laid end to end [tokens, hidden].
    ///
    /// - s: [tokens, hidden]
    /// - row: room for an embedding [hidden].
    func forward(
        _ rows: [TrainingRow], into s: UnsafeMutablePointer<Float>, row: Buffer<Float>,
        on compute: Compute
    ) {
        let C = words.columns
        var s = s
        for tokens in rows {
            for (position, token) in tokens.inputIDs.enumerated() {
                words.row(Int(token), into: s, on: compute)
                add(positions, position, to: s, row, on: compute)
                add(tokenTypes, Int(tokens.tokenType(at: position)), to: s, row, on: compute)
                s += C
            }
        }
    }

    private func add(
        _ table: WeightMatrix?, _ index: Int, to s: UnsafeMutablePointer<Float>,
        _ row: Buffer<Float>, on compute: Compute
    ) {
        guard let table else { return }
        table.row(index, into: row.pointer, on: compute)
        compute.kernels.axpy(1, row.pointer, table.columns, s)
    }
}
