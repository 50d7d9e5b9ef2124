/// What a word starts as, before any merge: a token for each character, or for each byte.
struct SymbolTable: Sendable {
    private let vocabulary: Vocabulary
    private let isByteLevel: Bool
    private let byteTokens: ByteTokens?
    private let unknown: Int32?
    private let fusesUnknown: Bool
    /// What a character inside a word begins with, and the last one ends with, in the vocabulary.
    private let continuingPrefix: [UInt8]
    private let endSuffix: [UInt8]
    /// The tokens of single bytes: of a byte-level vocabulary all 256, else ASCII; -1 where there is none.
    private let single: [Int32]

    /// - Parameters:
    ///   - vocabulary: the tokens.
    ///   - isByteLevel: whether they spell bytes, see `ByteSpelling`.
    ///   - fallsBackToBytes: whether byte tokens spell a character that is no token.
    ///   - unknown: what stands for it otherwise; without one it says nothing.
    ///   - fusesUnknown: whether a run of such characters is one token.
    ///   - continuingPrefix: what a character inside a word begins with.
    ///   - endSuffix: what the last character of a word ends with.
    init(
        _ vocabulary: Vocabulary, isByteLevel: Bool, fallsBackToBytes: Bool = false,
        unknown: Int32? = nil, fusesUnknown: Bool = false, continuingPrefix: [UInt8] = [],
        endSuffix: [UInt8] = []
    ) {
        self.vocabulary = vocabulary
        self.isByteLevel = isByteLevel
        self.unknown = unknown
        self.fusesUnknown = fusesUnknown
        self.continuingPrefix = continuingPrefix
        self.endSuffix = endSuffix
        byteTokens = fallsBackToBytes ? ByteTokens(of: vocabulary) : nil
        single = (UInt8(0)...(isByteLevel ? 255 : 127)).map { byte in
            vocabulary.id(of: isByteLevel ? ByteSpelling.spell([byte]) : [byte]) ?? -1
        }
    }

    /// Reads a BPE `model` of tokenizer.json.
    init(_ section: TokenizerSection, vocabulary: Vocabulary, isByteLevel: Bool) throws {
        let unknown = try section.optionalString("unk_token").map { token in
            guard let id = vocabulary.id(of: token.utf8) else {
                throw section.failure(
                    .malformed, "unk_token", "a token that the vocabulary has not", got: token)
            }
            return id
        }
        func text(_ key: String) throws -> [UInt8] {
            try section.optionalString(key).map { Array($0.utf8) } ?? []
        }
        self.init(
            vocabulary, isByteLevel: isByteLevel,
            fallsBackToBytes: try section.bool("byte_fallback", default: false), unknown: unknown,
            fusesUnknown: try section.bool("fuse_unk", default: false),
            continuingPrefix: try text("continuing_subword_prefix"),
            endSuffix: try text("end_of_word_suffix"))
    }

    /// Whether a character is spelled alike wherever in a word it is.
    var ignoresPlace: Bool { continuingPrefix.isEmpty && endSuffix.isEmpty }

    /// Appends the tokens that `word`'s characters start as.
    func append(_ word: UnsafeBufferPointer<UInt8>, to ids: inout [Int32]) {
        // An unknown stretch waits here until a known character or another unknown one follows it.
        var hasUnknown = false
        var position = 0
        while position < word.count {
            let start = position
            position += isByteLevel ? 1 : word.scalarLength(at: start)
            if let id = token(of: word, start..<position) {
                if hasUnknown, let unknown { ids.append(unknown) }
                hasUnknown = false
                ids.append(id)
                continue
            }
            if byteTokens?.append(spelling(of: word, start..<position), to: &ids) == true {
                continue
            }
            guard let unknown else { continue }
            if hasUnknown, !fusesUnknown { ids.append(unknown) }
            hasUnknown = true
        }
        if hasUnknown, let unknown { ids.append(unknown) }
    }

    @inline(__always)
    private func token(of word: UnsafeBufferPointer<UInt8>, _ range: Range<Int>) -> Int32? {
        if ignoresPlace {
            if range.count == 1 {
                let id = single[Int(word[range.lowerBound])]
                return id < 0 ? nil : id
            }
            return vocabulary.id(of: UnsafeBufferPointer(rebasing: word[range]))
        }
        return vocabulary.id(of: spelling(of: word, range))
    }

    /// A character as the vocabulary has it, with prefix and suffix.
    private func spelling(of word: UnsafeBufferPointer<UInt8>, _ range: Range<Int>) -> [UInt8] {
        (range.lowerBound == 0 ? [] : continuingPrefix)
            + (isByteLevel ? ByteSpelling.spell(word[range]) : Array(word[range]))
            + (range.upperBound == word.count ? endSuffix : [])
    }
}
