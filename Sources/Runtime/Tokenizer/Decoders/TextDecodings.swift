/// Joins all strings into one.
struct FuseDecoding: DecodingStage {
    private var isOpen = false

    mutating func append(_ piece: DecodedPiece, to output: inout [DecodedPiece]) {
        output.append(DecodedPiece(bytes: piece.bytes, opens: !isOpen, closes: false))
        isOpen = true
    }

    mutating func finish(_ output: inout [DecodedPiece]) {
        output.append(DecodedPiece(bytes: [], opens: !isOpen, closes: true))
    }
}

/// Without a decoder, a space stands between tokens.
struct SpacedDecoding: DecodingStage {
    private var isFirst = true

    mutating func append(_ piece: DecodedPiece, to output: inout [DecodedPiece]) {
        if piece.opens, !isFirst { output.append(DecodedPiece(bytes: [UInt8(ascii: " ")])) }
        isFirst = false
        output.append(piece)
    }
}

/// Replaces what a pattern matches within each string.
struct ReplaceDecoding: DecodingStage {
    private let replacement: PatternReplacement
    private var string: [UInt8] = []

    init(replacement: PatternReplacement) { self.replacement = replacement }

    mutating func append(_ piece: DecodedPiece, to output: inout [DecodedPiece]) {
        string += piece.bytes
        // A match may span pieces: only whole strings are searched.
        guard piece.closes else { return }
        output.append(DecodedPiece(bytes: replacement.apply(to: string)))
        string = []
    }
}

/// Turns `▁` into spaces; in the first string it was a prefix and is dropped.
struct MetaspaceDecoding: DecodingStage {
    private let replacement: PatternReplacement
    private let prefix: PatternReplacement?
    private var isInFirst = true

    init(_ section: TokenizerSection) throws {
        let pattern = Pattern(literal: String(try section.scalar("replacement")))
        replacement = PatternReplacement(pattern: pattern, content: [UInt8(ascii: " ")])
        prefix =
            try PrependScheme(section) == .never
            ? nil : PatternReplacement(pattern: pattern, content: [])
    }

    mutating func append(_ piece: DecodedPiece, to output: inout [DecodedPiece]) {
        var piece = piece
        let used = isInFirst ? prefix ?? replacement : replacement
        piece.bytes = used.apply(to: piece.bytes)
        if piece.closes { isInFirst = false }
        output.append(piece)
    }
}

/// Drops up to `start` of a character at each string's start and up to `stop` at its end.
struct StripDecoding: DecodingStage {
    private let content: [UInt8]
    private let start: Int
    private let stop: Int
    private var left: Int
    /// Characters at the end so far that may have to go.
    private var held = 0
    private var isOpen = false

    init(content: Unicode.Scalar, start: Int, stop: Int) {
        self.content = Array(String(content).utf8)
        self.start = start
        self.stop = stop
        left = start
    }

    mutating func append(_ piece: DecodedPiece, to output: inout [DecodedPiece]) {
        if piece.opens {
            left = start
            held = 0
            isOpen = false
        }
        var bytes = piece.bytes[...]
        while left > 0, bytes.starts(with: content) {
            bytes.removeFirst(content.count)
            left -= 1
        }
        if !bytes.isEmpty { left = 0 }
        var trailing = 0
        while trailing < stop, bytes.reversed().starts(with: content.reversed()) {
            bytes.removeLast(content.count)
            trailing += 1
        }
        var kept: [UInt8] = []
        if bytes.isEmpty {
            // Nothing but the character: the oldest held ones are text if they are too many to be dropped.
            held += trailing
            while held > stop {
                kept += content
                held -= 1
            }
        } else {
            for _ in 0..<held { kept += content }
            kept += bytes
            held = trailing
        }
        output.append(DecodedPiece(bytes: kept, opens: !isOpen, closes: piece.closes))
        isOpen = true
    }
}
