/// Text cut into pieces, as it goes from one pre-tokenizer to the next.
struct PreTokenizedText {
    /// Valid UTF-8; every piece is a range of it.
    var bytes: [UInt8]
    /// In order, none empty.
    var pieces: [Range<Int>]
    /// Whether the first piece is where the user's text begins, rather than after an added token or a
    /// delimiter that was dropped.
    private(set) var isAtStart: Bool

    init(_ bytes: [UInt8], isAtStart: Bool) {
        self.bytes = bytes
        self.isAtStart = isAtStart
        pieces = bytes.isEmpty ? [] : [0..<bytes.count]
    }

    /// Cuts every piece where `matches` finds a delimiter.
    ///
    /// `matches` gets a piece's bytes and reports the delimiters in it from left to right.
    mutating func split(
        _ behavior: SplitBehavior, inverted: Bool = false,
        matches: (UnsafeBufferPointer<UInt8>, (Range<Int>) -> Void) -> Void
    ) {
        var output: [Range<Int>] = []
        output.reserveCapacity(max(pieces.count, bytes.count / 4))
        bytes.withUnsafeBufferPointer { buffer in
            for piece in pieces {
                let text = UnsafeBufferPointer(rebasing: buffer[piece])
                var splitter = Splitter(behavior: behavior, offset: piece.lowerBound)
                var done = 0
                matches(text) { match in
                    if done < match.lowerBound {
                        splitter.append(done..<match.lowerBound, isMatch: inverted, to: &output)
                    }
                    splitter.append(match, isMatch: !inverted, to: &output)
                    done = match.upperBound
                }
                if done < text.count {
                    splitter.append(done..<text.count, isMatch: inverted, to: &output)
                }
                splitter.finish(&output)
            }
        }
        if let first = output.first, first.lowerBound > 0 { isAtStart = false }
        pieces = output
    }

    /// Rewrites every piece; `rewrite` appends the new bytes and gets whether the piece is the start.
    mutating func rewrite(_ rewrite: (ArraySlice<UInt8>, Bool, inout [UInt8]) -> Void) {
        var output: [UInt8] = []
        output.reserveCapacity(bytes.count + bytes.count / 2)
        for index in pieces.indices {
            let start = output.count
            rewrite(bytes[pieces[index]], isAtStart && index == 0, &output)
            pieces[index] = start..<output.count
        }
        bytes = output
    }
}

/// What becomes of a delimiter when text is split.
enum SplitBehavior: String, Sendable {
    /// It is dropped.
    case removed = "Removed"
    /// It is a piece of its own.
    case isolated = "Isolated"
    /// It ends the piece before it.
    case mergedWithPrevious = "MergedWithPrevious"
    /// It begins the piece after it.
    case mergedWithNext = "MergedWithNext"
    /// Neighbouring delimiters are one piece.
    case contiguous = "Contiguous"

    /// Reads `behavior`, written in either of the two styles that files use.
    init(_ section: TokenizerSection, default fallback: SplitBehavior? = nil) throws {
        guard let name = try section.optionalString("behavior") else {
            guard let fallback else { throw section.failure(.malformed, "behavior", "missing") }
            self = fallback
            return
        }
        guard let behavior = SplitBehavior(rawValue: name) else {
            throw section.failure(.unsupported, "behavior", "an unknown behavior", got: name)
        }
        self = behavior
    }
}

/// Joins one piece's parts, delimiters and what is between them, as the behavior says.
private struct Splitter {
    let behavior: SplitBehavior
    let offset: Int
    private var pending: Range<Int>?
    private var previousIsMatch = false

    init(behavior: SplitBehavior, offset: Int) {
        self.behavior = behavior
        self.offset = offset
    }

    mutating func append(_ part: Range<Int>, isMatch: Bool, to output: inout [Range<Int>]) {
        let part = part.lowerBound + offset..<part.upperBound + offset
        defer { previousIsMatch = isMatch }
        let joins: Bool
        switch behavior {
        case .removed:
            if !isMatch, !part.isEmpty { output.append(part) }
            return
        case .isolated:
            if !part.isEmpty { output.append(part) }
            return
        case .contiguous: joins = isMatch == previousIsMatch
        case .mergedWithPrevious: joins = isMatch && !previousIsMatch
        case .mergedWithNext: joins = !isMatch && previousIsMatch
        }
        if joins, let start = pending?.lowerBound {
            pending = start..<part.upperBound
        } else {
            finish(&output)
            pending = part
        }
    }

    mutating func finish(_ output: inout [Range<Int>]) {
        if let pending, !pending.isEmpty { output.append(pending) }
        pending = nil
    }
}
