import HeapModule

/// Byte-pair encoding (Sennrich, Haddow and Birch 2016).
///
/// A word starts as its characters or bytes, then the pair of
/// neighbours with the lowest rank is merged, leftmost first, until no pair is in the table.
struct BytePairEncoding: TokenModel {
    private let vocabulary: Vocabulary
    private let merges: MergeTable
    private let symbols: SymbolTable
    private let isByteLevel: Bool
    /// Whether a word that is a token is taken whole, without asking the merges.
    private let ignoresMerges: Bool
    /// Whether a text falls apart before each `▁`, see `WordStarts`.
    private let wordStarts: WordStarts?

    /// Words up to here are merged by scanning; past it, a heap costs less than the scans.
    private static let longestScanned = 48

    init(
        _ vocabulary: Vocabulary, symbols: SymbolTable, merges: MergeTable, isByteLevel: Bool,
        ignoresMerges: Bool
    ) {
        self.vocabulary = vocabulary
        self.symbols = symbols
        self.merges = merges
        self.isByteLevel = isByteLevel
        self.ignoresMerges = ignoresMerges
        wordStarts = isByteLevel ? nil : WordStarts(of: vocabulary, symbols: symbols)
    }

    /// Reads a BPE `model` of tokenizer.json; `pairs` are its merges.
    init(
        _ section: TokenizerSection, pairs: TextList, vocabulary: Vocabulary, isByteLevel: Bool
    ) throws {
        if let dropout = section.section("dropout"), dropout.json.double != 0 {
            throw dropout.failure(.unsupported, nil, "merges that are dropped at random")
        }
        self.init(
            vocabulary,
            symbols: try SymbolTable(section, vocabulary: vocabulary, isByteLevel: isByteLevel),
            merges: try MergeTable(section, pairs: pairs, vocabulary: vocabulary),
            isByteLevel: isByteLevel,
            ignoresMerges: try section.bool("ignore_merges", default: false))
    }

    func appendTokens(of text: PreTokenizedText, to ids: inout [Int32]) {
        var scratch = Scratch()
        text.bytes.withUnsafeBufferPointer { bytes in
            for piece in text.pieces {
                let piece = UnsafeBufferPointer(rebasing: bytes[piece])
                if ignoresMerges, let id = wholeToken(piece) {
                    ids.append(id)
                } else if let wordStarts, piece.count > Self.longestScanned {
                    wordStarts.forEachWord(of: piece) { append($0, &scratch, to: &ids) }
                } else {
                    append(piece, &scratch, to: &ids)
                }
            }
        }
    }

    /// What one word after the other is merged in.
    private struct Scratch {
        var word: [Int32] = []
        var merges: [MergeTable.Merge] = []
    }

    private func append(
        _ word: UnsafeBufferPointer<UInt8>, _ scratch: inout Scratch, to ids: inout [Int32]
    ) {
        scratch.word.removeAll(keepingCapacity: true)
        symbols.append(word, to: &scratch.word)
        if scratch.word.count <= Self.longestScanned {
            mergeByScanning(&scratch.word, &scratch.merges)
        } else {
            mergeByHeap(&scratch.word)
        }
        ids += scratch.word
    }

    private func wholeToken(_ piece: UnsafeBufferPointer<UInt8>) -> Int32? {
        isByteLevel ? vocabulary.id(of: ByteSpelling.spell(piece)) : vocabulary.id(of: piece)
    }

    /// Merges a short word; `ranks` is scratch for the merge of each symbol with its right neighbour.
    private func mergeByScanning(_ word: inout [Int32], _ ranks: inout [MergeTable.Merge]) {
        guard word.count > 1 else { return }
        ranks.removeAll(keepingCapacity: true)
        for index in 1..<word.count { ranks.append(merges.merge(word[index - 1], word[index])) }
        while true {
            var best = -1
            var lowest = Int32.max
            for index in ranks.indices where ranks[index].rank < lowest {
                lowest = ranks[index].rank
                best = index
            }
            guard best >= 0 else { return }
            word[best] = ranks[best].id
            word.remove(at: best + 1)
            ranks.remove(at: best)
            if best > 0 { ranks[best - 1] = merges.merge(word[best - 1], word[best]) }
            if best < ranks.count { ranks[best] = merges.merge(word[best], word[best + 1]) }
        }
    }

    /// A pair of neighbours that may be merged.
    private struct Candidate: Comparable {
        var merge: MergeTable.Merge
        /// The left symbol's place in the word.
        var position: Int
        /// The pair as it was when it was found.
        var left: Int32
        var right: Int32

        static func < (a: Candidate, b: Candidate) -> Bool {
            a.merge.rank != b.merge.rank ? a.merge.rank < b.merge.rank : a.position < b.position
        }

        static func == (a: Candidate, b: Candidate) -> Bool { !(a < b) && !(b < a) }
    }

    /// O(n log n): the word is a linked list, candidates whose symbols have changed since are passed over.
    private func mergeByHeap(_ word: inout [Int32]) {
        let count = word.count
        var next = Array(1...count)
        var previous = Array(-1..<count - 1)
        // Ids are not negative: a symbol that was merged into its left neighbour holds -1.
        func candidate(_ word: [Int32], _ position: Int, _ next: [Int]) -> Candidate? {
            let (left, right) = (word[position], word[next[position]])
            let merge = merges.merge(left, right)
            return merge.rank == .max
                ? nil : Candidate(merge: merge, position: position, left: left, right: right)
        }
        var heap = Heap((0..<count - 1).compactMap { candidate(word, $0, next) })
        while let best = heap.popMin() {
            let position = best.position
            guard word[position] == best.left, next[position] < count,
                word[next[position]] == best.right
            else { continue }
            let absorbed = next[position]
            word[position] = best.merge.id
            word[absorbed] = -1
            next[position] = next[absorbed]
            if next[position] < count {
                previous[next[position]] = position
                if let pair = candidate(word, position, next) { heap.insert(pair) }
            }
            if previous[position] >= 0, let pair = candidate(word, previous[position], next) {
                heap.insert(pair)
            }
        }
        word.removeAll { $0 < 0 }
    }
}

extension MergeTable {
    /// Reads `merges`, two of `pairs` each; what a pair comes to must be a token too.
    fileprivate init(
        _ section: TokenizerSection, pairs: TextList, vocabulary: Vocabulary
    ) throws {
        let prefix = try section.optionalString("continuing_subword_prefix") ?? ""
        if let list = section.section("merges"), list.json.array == nil {
            throw section.failure(.malformed, "merges", "not an array")
        }
        self.init(capacity: pairs.count / 2)
        try pairs.heap.withUnsafeBufferPointer { heap in
            for rank in 0..<pairs.count / 2 {
                let (left, right) = (heap[pairs[2 * rank]], heap[pairs[2 * rank + 1]])
                guard right.count >= prefix.utf8.count else {
                    throw section.failure(
                        .malformed, "merges[\(rank)]", "a token shorter than the continuing prefix",
                        got: String(decoding: right, as: UTF8.self))
                }
                // The two lie side by side.
                let joined = heap[left.startIndex..<right.endIndex]
                func id(_ token: some Collection<UInt8>) throws -> Int32 {
                    guard let id = vocabulary.id(of: token) else {
                        throw section.failure(
                            .malformed, "merges[\(rank)]",
                            "names a token that the vocabulary has not",
                            got: String(reflecting: String(decoding: token, as: UTF8.self)))
                    }
                    return id
                }
                let merged =
                    try prefix.isEmpty
                    ? id(joined) : id(Array(left) + right.dropFirst(prefix.utf8.count))
                insert(try id(left), try id(right), Merge(rank: Int32(rank), id: merged))
            }
        }
    }
}
