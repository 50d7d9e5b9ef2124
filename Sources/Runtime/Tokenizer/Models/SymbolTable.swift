/// What a word starts as, before any merge: a token for each character, or for each byte.
struct SymbolTable: Sendable {
    private let vocabulary: Vocabulary
    private let isByteLevel: Bool
    private let fallsBackToBytes: Bool
    private let unknown: Int32?
    private let fusesUnknown: Bool
    /// What a character inside a word begins with, and the last one ends with, in the vocabulary.
    private let continuingPrefix: [UInt8]
    private let endSuffix: [UInt8]
    /// The tokens of single bytes: of a byte-level vocabulary all 256, else ASCII; -1 where there is none.
    private let single: [Int32]
    /// The tokens `<0x00>` to `<0xFF>`; -1 where there is none.
    private let byteTokens: [Int32]

    init(_ section: TokenizerSection, vocabulary: Vocabulary, isByteLevel: Bool) throws {
        self.vocabulary = vocabulary
        self.isByteLevel = isByteLevel
        fallsBackToBytes = try section.bool("byte_fallback", default: false)
        fusesUnknown = try section.bool("fuse_unk", default: false)
        unknown = try section.optionalString("unk_token").map { token in
            guard let id = vocabulary.id(of: token.utf8) else {
                throw section.failure(
                    .malformed, "unk_token", "a token that the vocabulary has not", got: token)
            }
            return id
        }
        continuingPrefix = Array(
            try section.optionalString("continuing_subword_prefix").map(\.utf8) ?? "".utf8)
        endSuffix = Array(try section.optionalString("end_of_word_suffix").map(\.utf8) ?? "".utf8)
        single = (UInt8(0)...(isByteLevel ? 255 : 127)).map { byte in
            vocabulary.id(of: isByteLevel ? ByteSpelling.spell([byte]) : [byte]) ?? -1
        }
        byteTokens = (UInt8.min...UInt8.max).map { byte in
            let digits = String(byte, radix: 16, uppercase: true)
            let token = "<0x\(digits.utf8.count == 1 ? "0" : "")\(digits)>"
            return vocabulary.id(of: token.utf8) ?? -1
        }
    }

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
            if fallsBackToBytes, appendBytes(of: word, start..<position, to: &ids) { continue }
            guard let unknown else { continue }
            if hasUnknown, !fusesUnknown { ids.append(unknown) }
            hasUnknown = true
        }
        if hasUnknown, let unknown { ids.append(unknown) }
    }

    @inline(__always)
    private func token(of word: UnsafeBufferPointer<UInt8>, _ range: Range<Int>) -> Int32? {
        if continuingPrefix.isEmpty, endSuffix.isEmpty {
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

    /// Appends the byte tokens of a character, unless one is missing.
    private func appendBytes(
        of word: UnsafeBufferPointer<UInt8>, _ range: Range<Int>, to ids: inout [Int32]
    ) -> Bool {
        let tokens = spelling(of: word, range).map { byteTokens[Int($0)] }
        guard tokens.allSatisfy({ $0 >= 0 }) else { return false }
        ids += tokens
        return true
    }
}
