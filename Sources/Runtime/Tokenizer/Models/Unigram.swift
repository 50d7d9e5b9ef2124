/// A unigram language model (Kudo 2018): of all ways to cut a text into tokens, the most probable one.
///
/// The probability of a cut is the product of its tokens'; the best is found from left to right (Viterbi),
/// as `EncodeOptimized` of SentencePiece does.
struct Unigram: TokenModel {
    /// How far the sums of log probabilities are rounded: it decides between cuts that are nearly as good.
    enum Precision: Sendable {
        /// As SentencePiece has them.
        case single
        /// As the `tokenizers` package has them.
        case double
    }

    private let trie: ByteTrie
    /// Log probabilities by id.
    private let scores: [Double]
    private let unknown: Int32?
    private let unknownScore: Double
    /// Nil where unknown characters stay unknown.
    private let byteTokens: ByteTokens?
    private let precision: Precision

    /// What an unknown character costs past the least probable token (SentencePiece's `kUnkPenalty`).
    private static let unknownPenalty = 10.0

    /// - Parameters:
    ///   - trie: the tokens that a text may be cut into, with their ids.
    ///   - scores: log probabilities by id.
    ///   - lowest: the log probability of the least probable token.
    ///   - unknown: the token of an unknown run of characters; without one it says nothing.
    ///   - byteTokens: what spells unknown characters instead.
    ///   - precision: how sums are rounded.
    init(
        trie: ByteTrie, scores: [Double], lowest: Double, unknown: Int32?, byteTokens: ByteTokens?,
        precision: Precision
    ) {
        self.trie = trie
        self.scores = scores
        self.unknown = unknown
        self.byteTokens = byteTokens
        self.precision = precision
        unknownScore =
            precision == .single
            ? Double(Float(lowest) - Float(Self.unknownPenalty)) : lowest - Self.unknownPenalty
    }

    /// Reads a Unigram `model` of tokenizer.json; `scores` are those of its `vocab`.
    init(_ section: TokenizerSection, vocabulary: Vocabulary, scores: [Double]) throws {
        guard scores.count == vocabulary.count else {
            throw section.failure(
                .malformed, "vocab", "not an array of tokens and scores",
                got: "\(scores.count) scores for \(vocabulary.count) tokens")
        }
        var unknown: Int32?
        if section.section("unk_id") != nil {
            let id = try section.tokenID("unk_id")
            guard Int(id) < scores.count else {
                throw section.failure(
                    .malformed, "unk_id", "no token's id", expected: "less than \(scores.count)",
                    got: "\(id)")
            }
            unknown = id
        }
        var trie = ByteTrie()
        for id in scores.indices {
            if let token = vocabulary.bytes(of: Int32(id)) { trie.insert(token, value: Int32(id)) }
        }
        self.init(
            trie: trie, scores: scores, lowest: scores.min() ?? 0, unknown: unknown,
            byteTokens: try section.bool("byte_fallback", default: false)
                ? ByteTokens(of: vocabulary) : nil,
            precision: .double)
    }

    /// Past it a single-precision sum is begun anew, so that a long text is not rounded away.
    private static let highestSum = 100_000.0

    /// The best cut of the text up to some place.
    private struct Path {
        var score = 0.0
        /// Where its last token starts; -1 before there is a cut.
        var start = -1
        /// Its last token; -1 is an unknown character.
        var token: Int32 = -1
    }

    func appendTokens(of text: PreTokenizedText, to ids: inout [Int32]) {
        var paths: [Path] = []
        text.bytes.withUnsafeBufferPointer { bytes in
            for piece in text.pieces {
                let word = UnsafeBufferPointer(rebasing: bytes[piece])
                findBestPath(word, &paths)
                append(word, paths, to: &ids)
            }
        }
    }

    /// Fills `paths` with the best cut up to every byte of `word`.
    private func findBestPath(_ word: UnsafeBufferPointer<UInt8>, _ paths: inout [Path]) {
        paths.removeAll(keepingCapacity: true)
        paths.append(contentsOf: repeatElement(Path(), count: word.count + 1))
        paths.withUnsafeMutableBufferPointer { paths in
            func offer(_ token: Int32, _ score: Double, from start: Int, to end: Int) {
                let score = precision == .single ? Double(Float(score)) : score
                guard paths[end].start < 0 || score > paths[end].score else { return }
                paths[end] = Path(score: score, start: start, token: token)
            }
            var start = 0
            while start < word.count {
                let next = start + word.scalarLength(at: start)
                if precision == .single, paths[start].score < -Self.highestSum {
                    let sum = paths[start].score
                    // As far as tokens reach that started before.
                    for end in start...min(start + trie.depth, word.count) {
                        paths[end].score = Double(Float(paths[end].score - sum))
                    }
                }
                let score = paths[start].score
                var isKnown = false
                var node = ByteTrie.root
                var end = start
                while end < word.count {
                    let edge = trie.edge(from: node, by: word[end])
                    guard edge.node >= 0 else { break }
                    node = edge.node
                    end += 1
                    guard edge.value >= 0 else { continue }
                    offer(edge.value, score + scores[Int(edge.value)], from: start, to: end)
                    isKnown = isKnown || end == next
                }
                if !isKnown { offer(-1, score + unknownScore, from: start, to: next) }
                start = next
            }
        }
    }

    /// Appends the tokens of the best cut; a run of unknown characters is one token, or spelled in bytes.
    private func append(
        _ word: UnsafeBufferPointer<UInt8>, _ paths: [Path], to ids: inout [Int32]
    ) {
        var cuts: [Range<Int>] = []
        var end = word.count
        while end > 0 {
            cuts.append(paths[end].start..<end)
            end = paths[end].start
        }
        var isInUnknown = false
        for cut in cuts.reversed() {
            let token = paths[cut.upperBound].token
            defer { isInUnknown = token < 0 }
            if token >= 0 {
                ids.append(token)
            } else if byteTokens?.append(word[cut], to: &ids) == true {
                continue
            } else if let unknown, !isInUnknown {
                ids.append(unknown)
            }
        }
    }
}
