/// The tokens that may come next: a bit for each token of a vocabulary.
///
/// One is made for a sequence and written anew for every token; its memory is reused.
public final class TokenMask {
    /// How many tokens there are.
    public let count: Int
    /// Bit i % 64 of word i / 64 is token i's; bits past the last token are 0.
    var words: [UInt64]

    /// A mask over `count` tokens that allows none.
    public init(count: Int) {
        precondition(count >= 0, "a mask over \(count) tokens")
        self.count = count
        words = Array(repeating: 0, count: (count + 63) / 64)
    }

    /// Whether a token is allowed; one outside the vocabulary is not.
    public func contains(_ token: Int32) -> Bool {
        token >= 0 && token < count && words[Int(token) / 64] >> UInt64(token % 64) & 1 == 1
    }

    /// Allows a token of the vocabulary.
    public func insert(_ token: Int32) {
        precondition(token >= 0 && token < count, "the token \(token) of \(count)")
        words[Int(token) / 64] |= 1 << UInt64(token % 64)
    }

    /// How many tokens are allowed.
    public var allowedCount: Int { words.reduce(0) { $0 + $1.nonzeroBitCount } }

    /// The allowed tokens in order.
    public var tokens: [Int32] {
        var tokens: [Int32] = []
        for (index, word) in words.enumerated() {
            var rest = word
            while rest != 0 {
                tokens.append(Int32(index * 64 + rest.trailingZeroBitCount))
                rest &= rest - 1
            }
        }
        return tokens
    }

    /// Sets to `value` what belongs to the tokens that are not allowed.
    ///
    /// - Parameters:
    ///   - logits: [count], or probabilities.
    ///   - value: what they are set to.
    func clear(_ logits: UnsafeMutableBufferPointer<Float>, to value: Float) {
        precondition(logits.count == count, "\(logits.count) logits, a mask over \(count) tokens")
        for (index, word) in words.enumerated() where word != .max {
            let start = index * 64
            for token in start..<min(start + 64, count)
            where word >> UInt64(token - start) & 1 == 0 {
                logits[token] = value
            }
        }
    }
}
