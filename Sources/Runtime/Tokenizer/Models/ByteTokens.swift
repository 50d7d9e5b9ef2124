/// The tokens `<0x00>` to `<0xFF>` that spell a character which the vocabulary has not.
struct ByteTokens: Sendable {
    /// The id of each byte's token; -1 where there is none.
    private let ids: [Int32]

    init(of vocabulary: Vocabulary) {
        ids = (UInt8.min...UInt8.max).map { vocabulary.id(of: Self.spelling(of: $0).utf8) ?? -1 }
    }

    /// A byte's token.
    static func spelling(of byte: UInt8) -> String {
        let digits = String(byte, radix: 16, uppercase: true)
        return "<0x\(digits.utf8.count == 1 ? "0" : "")\(digits)>"
    }

    /// Appends the tokens of `bytes`, unless one is missing.
    func append(_ bytes: some Sequence<UInt8>, to tokens: inout [Int32]) -> Bool {
        let count = tokens.count
        for byte in bytes {
            guard ids[Int(byte)] >= 0 else {
                tokens.removeSubrange(count...)
                return false
            }
            tokens.append(ids[Int(byte)])
        }
        return true
    }
}
