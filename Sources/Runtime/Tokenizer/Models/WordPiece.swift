/// WordPiece, as BERT has it: a word is cut from the left, each time after the longest token.
///
/// Tokens inside a word are spelled with a prefix, `##ing`. A word that cannot be cut is unknown as a whole.
struct WordPiece: TokenModel {
    private let trie: ByteTrie
    /// Where the walks inside a word begin, behind the prefix; -1 if no token has it.
    private let continuation: Int32
    private let unknown: Int32
    private let longestWord: Int

    /// Words of more characters than this are unknown.
    static let longestWord = 100

    init(
        vocabulary: Vocabulary, prefix: some Sequence<UInt8>, unknown: Int32,
        longestWord: Int = longestWord
    ) {
        var trie = ByteTrie()
        for id in 0..<Int32(vocabulary.idBound) {
            if let token = vocabulary.bytes(of: id) { trie.insert(token, value: id) }
        }
        var node = ByteTrie.root
        for byte in prefix where node >= 0 { node = trie.edge(from: node, by: byte).node }
        self.trie = trie
        continuation = node
        self.unknown = unknown
        self.longestWord = longestWord
    }

    /// Reads a WordPiece `model` of tokenizer.json.
    init(_ section: TokenizerSection, vocabulary: Vocabulary) throws {
        let token = try section.optionalString("unk_token") ?? "[UNK]"
        guard let unknown = vocabulary.id(of: token.utf8) else {
            throw section.failure(
                .malformed, "unk_token", "a token that the vocabulary has not", got: token)
        }
        self.init(
            vocabulary: vocabulary,
            prefix: try (section.optionalString("continuing_subword_prefix") ?? "##").utf8,
            unknown: unknown,
            longestWord: try section.count("max_input_chars_per_word", default: Self.longestWord))
    }

    func appendTokens(of text: PreTokenizedText, to ids: inout [Int32]) {
        text.bytes.withUnsafeBufferPointer { bytes in
            for piece in text.pieces {
                let count = ids.count
                if !append(UnsafeBufferPointer(rebasing: bytes[piece]), to: &ids) {
                    ids.removeSubrange(count...)
                    ids.append(unknown)
                }
            }
        }
    }

    /// Appends a word's tokens; false if it cannot be cut.
    private func append(_ word: UnsafeBufferPointer<UInt8>, to ids: inout [Int32]) -> Bool {
        if word.count > longestWord, word.scalarCount > longestWord { return false }
        var start = 0
        while start < word.count {
            var node = start == 0 ? ByteTrie.root : continuation
            guard node >= 0 else { return false }
            var found: Int32 = -1
            var position = start
            while position < word.count {
                let edge = trie.edge(from: node, by: word[position])
                guard edge.node >= 0 else { break }
                node = edge.node
                position += 1
                if edge.value >= 0 {
                    found = edge.value
                    start = position
                }
            }
            guard found >= 0 else { return false }
            ids.append(found)
        }
        return true
    }
}

extension UnsafeBufferPointer<UInt8> {
    /// The number of scalars of valid UTF-8.
    fileprivate var scalarCount: Int { reduce(0) { $0 + ($1 & 0xC0 == 0x80 ? 0 : 1) } }
}
