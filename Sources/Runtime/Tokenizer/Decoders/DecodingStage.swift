/// A part of the way from tokens back to text, fed piece by piece so that a stream and a whole text
/// decode by the same code.
///
/// The reference's stages map lists of strings; here a string of such a list may arrive in several
/// pieces, the first of which opens it and the last of which closes it. No piece ends inside a character.
protocol DecodingStage: Sendable {
    /// Takes the next piece and sends on what is settled.
    mutating func append(_ piece: DecodedPiece, to output: inout [DecodedPiece])
    /// Sends on what was held back: no piece follows.
    mutating func finish(_ output: inout [DecodedPiece])
}

extension DecodingStage {
    mutating func finish(_ output: inout [DecodedPiece]) {}
}

/// A string of the reference's list of strings, or a part of one.
struct DecodedPiece: Sendable {
    var bytes: [UInt8]
    /// Whether it is its string's first piece.
    var opens = true
    /// Whether it is its string's last piece.
    var closes = true
}

/// Reads a `decoder` of tokenizer.json into the stages it is made of.
func makeDecodingStages(_ section: TokenizerSection) throws -> [any DecodingStage] {
    switch try section.type() {
    case "Sequence": return try section.sections("decoders").flatMap(makeDecodingStages)
    case "ByteLevel": return [ByteLevelDecoding()]
    case "Metaspace": return [try MetaspaceDecoding(section)]
    case "WordPiece":
        return [
            WordPieceDecoding(
                prefix: Array(try (section.optionalString("prefix") ?? "##").utf8),
                cleansUp: try section.bool("cleanup", default: true))
        ]
    case "ByteFallback": return [ByteFallbackDecoding()]
    case "Fuse": return [FuseDecoding()]
    case "Strip":
        return [
            StripDecoding(
                content: try section.scalar("content"),
                start: try section.count("start", default: 0),
                stop: try section.count("stop", default: 0))
        ]
    case "Replace":
        return [
            ReplaceDecoding(
                replacement: PatternReplacement(
                    pattern: try section.pattern(),
                    content: Array(try section.string("content").utf8)))
        ]
    default: throw try section.unknownType("decoder")
    }
}
