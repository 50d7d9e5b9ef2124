/// A token that is found in the text before anything else looks at it: `<|im_start|>`.
struct AddedToken: Sendable {
    let content: [UInt8]
    let id: Int32
    /// Left out when decoding for a reader.
    var isSpecial = false
    /// Counts only where no word character touches it.
    var isSingleWord = false
    /// Takes the white space before it.
    var stripsLeft = false
    /// Takes the white space after it.
    var stripsRight = false
    /// Looked for in the normalized text rather than in the user's.
    var isNormalized = false
    /// What is looked for: the content, normalized where the text is.
    var searched: [UInt8]

    init(_ content: some Sequence<UInt8>, id: Int32, isSpecial: Bool) {
        self.content = Array(content)
        self.id = id
        self.isSpecial = isSpecial
        searched = self.content
    }

    /// Reads an element of `added_tokens`; `id` is told where the section does not say it.
    init(
        _ section: TokenizerSection, id: Int32? = nil, normalizer: (any Normalizer)? = nil
    ) throws {
        content = Array(try section.string("content").utf8)
        self.id = try id ?? section.tokenID("id")
        isSpecial = try section.bool("special", default: false)
        isSingleWord = try section.bool("single_word", default: false)
        stripsLeft = try section.bool("lstrip", default: false)
        stripsRight = try section.bool("rstrip", default: false)
        isNormalized = try section.bool("normalized", default: !isSpecial)
        searched = content
        if isNormalized { normalizer?.normalize(&searched) }
    }
}

/// Finds added tokens in text: leftmost, and the longest of those that start together.
struct AddedTokenMatcher: Sendable {
    /// A stretch of text: a token, or what lies between two.
    enum Part {
        case text(Range<Int>)
        case token(Int32)
    }

    /// A trie over what is searched; node 0 is the root.
    private struct Node: Sendable {
        var children: [UInt8: Int32] = [:]
        var token: Int32 = -1
    }

    private let tokens: [AddedToken]
    private var nodes = [Node()]
    private var first = FirstScalars()

    /// Prepares the search for `tokens`.
    init(_ tokens: [AddedToken]) {
        self.tokens = tokens
        for (index, token) in tokens.enumerated() {
            guard let start = token.searched.first else { continue }
            var node = 0
            for byte in token.searched {
                if let child = nodes[node].children[byte] {
                    node = Int(child)
                } else {
                    nodes.append(Node())
                    nodes[node].children[byte] = Int32(nodes.count - 1)
                    node = nodes.count - 1
                }
            }
            // Of two tokens with the same content the first one counts.
            if nodes[node].token < 0 { nodes[node].token = Int32(index) }
            first.admit(start)
        }
    }

    /// The tokens' ids.
    var ids: [Int32] { tokens.map(\.id) }

    /// Visits the parts of `text` in order.
    func split(_ text: UnsafeBufferPointer<UInt8>, _ body: (Part) -> Void) {
        var done = 0
        var position = 0
        while position < text.count {
            guard first.admits(text[position]), let (index, end) = longest(in: text, at: position)
            else {
                position += 1
                continue
            }
            let token = tokens[index]
            var range = position..<end
            position = end
            if token.isSingleWord, text.isWord(before: range.lowerBound) || text.isWord(at: end) {
                continue
            }
            if token.stripsLeft {
                let start = text.whitespaceStart(before: range.lowerBound)
                range = max(start, done)..<range.upperBound
            }
            if token.stripsRight { range = range.lowerBound..<text.whitespaceEnd(after: end) }
            if done < range.lowerBound { body(.text(done..<range.lowerBound)) }
            body(.token(token.id))
            done = range.upperBound
        }
        if done < text.count { body(.text(done..<text.count)) }
    }

    private func longest(
        in text: UnsafeBufferPointer<UInt8>, at start: Int
    ) -> (token: Int, end: Int)? {
        var node = 0
        var position = start
        var found: (token: Int, end: Int)?
        while position < text.count, let child = nodes[node].children[text[position]] {
            node = Int(child)
            position += 1
            if nodes[node].token >= 0 { found = (Int(nodes[node].token), position) }
        }
        return found
    }
}

extension UnsafeBufferPointer<UInt8> {
    fileprivate func isWord(at position: Int) -> Bool {
        guard position < count, let scalar = Unicode.Scalar(scalar(at: position).value) else {
            return false
        }
        return scalar.isWord || scalar.properties.isJoinControl
    }

    fileprivate func isWord(before position: Int) -> Bool {
        position > 0 && isWord(at: scalarStart(before: position))
    }

    fileprivate func whitespaceStart(before position: Int) -> Int {
        var start = position
        while start > 0, isWhitespace(at: scalarStart(before: start)) {
            start = scalarStart(before: start)
        }
        return start
    }

    fileprivate func whitespaceEnd(after position: Int) -> Int {
        var end = position
        while end < count, isWhitespace(at: end) { end += scalarLength(at: end) }
        return end
    }

    private func isWhitespace(at position: Int) -> Bool {
        Unicode.Scalar(scalar(at: position).value)?.properties.isWhitespace == true
    }
}
