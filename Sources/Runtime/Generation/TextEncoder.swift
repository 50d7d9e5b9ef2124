import Foundation
public import LorikeetQuant

/// An encoder from its files to vectors and classes: weights and tokenizer of one checkpoint.
///
/// ```swift
/// let encoder = try TextEncoder(path: "minilm-nf4", compute: Compute())
/// let vectors = try encoder.embeddings(of: ["A text.", "Another."])
/// ```
public final class TextEncoder: Sendable {
    /// The files it came from.
    public let checkpoint: any Checkpoint
    /// The weights.
    public let model: EncoderModel
    /// The tokenizer.
    public let tokenizer: Tokenizer
    /// How hidden states become a vector.
    public let pooling: Pooling
    /// Whether vectors are divided by their lengths.
    public let normalizes: Bool
    /// The most tokens of a text that is embedded: the model's, or what sentence-transformers' files say.
    public let maximumLength: Int
    /// What it computes on.
    public let compute: Compute

    /// How a text's hidden states become one vector.
    public enum Pooling: Sendable, Equatable {
        /// The mean over its tokens, special ones among them.
        case mean
        /// The first token's.
        case first
    }

    /// Opens the Hugging Face folder at `path`; weights are mapped.
    ///
    /// - Throws: `.unsupported` for a model that is no encoder, and what reading it throws.
    public init(path: String, compute: Compute) throws {
        checkpoint = try Checkpoints.open(path)
        self.compute = compute
        model = try EncoderModel(checkpoint: checkpoint, on: compute)
        tokenizer = try TokenizerFiles(checkpoint).tokenizer()
        guard tokenizer.vocabularyCount <= model.configuration.vocabularySize else {
            throw LorikeetError(
                .mismatch, path, "the tokenizer has more tokens than the embedding has rows",
                expected: "at most \(model.configuration.vocabularySize)",
                got: "\(tokenizer.vocabularyCount)")
        }
        let files = SentenceFiles(checkpoint)
        pooling = try files.pooling()
        normalizes = try files.normalizes()
        maximumLength = min(
            try files.maximumLength() ?? .max, model.configuration.maximumPositions)
    }

    /// A text, or a pair, as a row.
    public func row(_ text: String, pair: String? = nil, maximumLength: Int? = nil) -> TrainingRow {
        let encoded = tokenizer.encode(
            text, pair: pair,
            maximumLength: min(
                maximumLength ?? .max, model.configuration.maximumPositions))
        return TrainingRow(
            inputIDs: encoded.ids, firstTextCount: encoded.firstTextCount, target: nil)
    }

    /// Calls `body` with rows in parts of at most so many tokens, or a single row.
    public static func inParts<Rows: RandomAccessCollection>(
        _ rows: Rows, tokens limit: Int, _ body: (Rows.SubSequence) throws -> Void
    ) rethrows where Rows.Element == TrainingRow {
        var (begin, sum) = (rows.startIndex, 0)
        for index in rows.indices {
            let count = rows[index].inputIDs.count
            if sum + count > limit, begin < index {
                try body(rows[begin..<index])
                (begin, sum) = (index, 0)
            }
            sum += count
        }
        if begin < rows.endIndex { try body(rows[begin..<rows.endIndex]) }
    }

    /// Tokens that go through the model together where nobody says otherwise: products with more rows are no
    /// faster.
    public static let passTokens = 2048

    /// The vector of each text [hidden], of length 1 unless the checkpoint's modules.json leaves that out.
    ///
    /// - Parameters:
    ///   - texts: cut at `maximumLength` tokens.
    ///   - adapter: the low-rank terms; nil for the base alone.
    /// - Returns: one a text, in order.
    /// - Throws: `LorikeetError` for a text without tokens.
    public func embeddings(
        of texts: [String], adapter: (any LowRankDeltas)? = nil
    ) throws -> [[Float]] {
        try embeddings(
            of: texts.map { row($0, maximumLength: maximumLength) }, adapter: adapter)
    }

    /// The vector of each row.
    public func embeddings(
        of rows: [TrainingRow], adapter: (any LowRankDeltas)?
    ) throws -> [[Float]] {
        let pass = pass(for: rows)
        var vectors: [[Float]] = []
        try Self.inParts(rows, tokens: Self.passTokens) {
            vectors += try embeddings(of: Array($0), adapter: adapter, in: pass)
        }
        return vectors
    }

    /// The vector of each row, all of which go through `pass` together.
    ///
    /// - Throws: as `EncoderPass`.
    public func embeddings(
        of rows: [TrainingRow], adapter: (any LowRankDeltas)?, in pass: EncoderPass
    ) throws -> [[Float]] {
        let C = model.configuration.hiddenSize
        var vectors: [[Float]] = []
        try pass.hiddenStates(of: rows, adapter: adapter) { _, states, count in
            let tokens = pooling == .mean ? count : 1
            var sum = [Double](repeating: 0, count: C)
            for token in 0..<tokens {
                for c in 0..<C { sum[c] += Double(states[token * C + c]) }
            }
            // The sum points where the mean does.
            let length = sum.reduce(0) { $0 + $1 * $1 }.squareRoot()
            let divisor = normalizes ? max(length, 1e-12) : Double(tokens)
            vectors.append(sum.map { Float($0 / divisor) })
        }
        return vectors
    }

    /// The head's outputs of each row: logits of the classes, or the one number.
    ///
    /// - Throws: where neither the model nor the adapter has a head.
    public func logits(
        of rows: [TrainingRow], adapter: (any LowRankDeltas)?
    ) throws -> [[Float]] {
        let pass = pass(for: rows)
        var logits: [[Float]] = []
        try Self.inParts(rows, tokens: Self.passTokens) {
            logits += try pass.logits(of: Array($0), adapter: adapter)
        }
        return logits
    }

    private func pass(for rows: [TrainingRow]) -> EncoderPass {
        let (sum, longest) = rows.reduce((0, 1)) {
            ($0.0 + $1.inputIDs.count, max($0.1, $1.inputIDs.count))
        }
        return EncoderPass(
            model: model, compute: compute,
            maximumTokens: max(longest, min(sum, Self.passTokens)))
    }
}

/// What sentence-transformers' files beside a checkpoint say.
struct SentenceFiles {
    /// Their names.
    static let names = ["modules.json", "sentence_bert_config.json", "1_Pooling/config.json"]

    private let checkpoint: any Checkpoint

    init(_ checkpoint: any Checkpoint) { self.checkpoint = checkpoint }

    private func json(_ name: String) throws -> JSON? {
        try checkpoint.file(name).map { data in
            try data.withUnsafeBytes {
                try JSON(parsing: $0, source: "\(checkpoint.path)/\(name)")
            }
        }
    }

    /// Of 1_Pooling/config.json; the mean without one.
    func pooling() throws -> TextEncoder.Pooling {
        let name = "1_Pooling/config.json"
        guard let json = try json(name) else { return .mean }
        let modes = (json.object ?? [:]).filter {
            $0.key.hasPrefix("pooling_mode_") && $0.value.bool == true
        }.map(\.key)
        switch modes {
        case [], ["pooling_mode_mean_tokens"]: return .mean
        case ["pooling_mode_cls_token"]: return .first
        default:
            throw LorikeetError(
                .unsupported, "\(checkpoint.path)/\(name)", "the pooling is not supported",
                expected: "pooling_mode_mean_tokens or pooling_mode_cls_token",
                got: modes.joined(separator: ", "))
        }
    }

    /// Of modules.json; true without one.
    ///
    /// - Throws: `.unsupported` for a module that is not carried out, such as Dense.
    func normalizes() throws -> Bool {
        guard let modules = try json("modules.json")?.array else { return true }
        let types = modules.compactMap { $0["type"]?.string?.split(separator: ".").last }
        let known = ["Transformer", "Pooling", "Normalize"]
        if let other = types.first(where: { !known.contains(String($0)) }) {
            throw LorikeetError(
                .unsupported, "\(checkpoint.path)/modules.json", "the module is not supported",
                expected: known.joined(separator: ", "), got: String(other))
        }
        return types.contains("Normalize")
    }

    /// Of sentence_bert_config.json.
    func maximumLength() throws -> Int? {
        try json("sentence_bert_config.json")?["max_seq_length"]?.int.map { max(1, $0) }
    }
}
