extension MergeTable {
    /// The merges that a SentencePiece vocabulary of byte pairs stands for.
    ///
    /// Two neighbours become one if the vocabulary has what they spell together; the piece with the
    /// highest score goes first, and of equal ones the leftmost.
    init(_ model: SentencePieceModel, vocabulary: Vocabulary) {
        /// Past it a piece would cost quadratic time; real ones have a few dozen bytes.
        let longestPiece = 512
        let normal = model.types.indices.filter { model.types[$0] == .normal }
        let distinct = Set(normal.map { model.scores[$0] }).sorted(by: >)
        let ranks = Dictionary(
            uniqueKeysWithValues: distinct.enumerated().map { ($1, Int32($0)) })
        func id(_ text: ArraySlice<UInt8>) -> Int32? {
            vocabulary.id(of: text).flatMap { model.types[Int($0)] == .normal ? $0 : nil }
        }
        var pairs: [(left: Int32, right: Int32, merge: Merge)] = []
        for piece in normal {
            let text = model[piece]
            guard text.count <= longestPiece, let rank = ranks[model.scores[piece]] else {
                continue
            }
            for cut in text.indices.dropFirst() where text[cut] & 0xC0 != 0x80 {
                guard let left = id(text[..<cut]), let right = id(text[cut...]) else { continue }
                pairs.append((left, right, Merge(rank: rank, id: Int32(piece))))
            }
        }
        self.init(capacity: pairs.count)
        for pair in pairs { insert(pair.left, pair.right, pair.merge) }
    }
}
