/// Turns tokens into text as they are generated, never a part of a character.
///
/// ```swift
/// var decoder = tokenizer.streamingDecoder()
/// for id in generated { print(decoder.append(id), terminator: "") }
/// print(decoder.finish())
/// ```
///
/// All that `append` and `finish` returned, joined, is what `decode` returns for the same ids.
public struct StreamingDecoder: Sendable {
    private let tokenizer: Tokenizer
    private let skipsSpecialTokens: Bool
    private var stages: [any DecodingStage]

    init(_ tokenizer: Tokenizer, stages: [any DecodingStage], skipsSpecialTokens: Bool) {
        self.tokenizer = tokenizer
        self.stages = stages
        self.skipsSpecialTokens = skipsSpecialTokens
    }

    /// Takes the next token and returns the text that is settled by it, often empty; an id that no token
    /// has says nothing.
    public mutating func append(_ id: Int32) -> String {
        guard !(skipsSpecialTokens && tokenizer.isSpecial(id)), let token = tokenizer.bytes(of: id)
        else { return "" }
        return append(piece: Array(token))
    }

    /// Takes a token as the vocabulary spells it.
    mutating func append(piece: [UInt8]) -> String { run([DecodedPiece(bytes: piece)], from: 0) }

    /// Returns what was held back; no token may follow.
    public mutating func finish() -> String {
        var text = ""
        for index in stages.indices {
            var output: [DecodedPiece] = []
            stages[index].finish(&output)
            text += run(output, from: index + 1)
        }
        return text
    }

    private mutating func run(_ pieces: [DecodedPiece], from start: Int) -> String {
        var pieces = pieces
        for index in start..<stages.count {
            var output: [DecodedPiece] = []
            for piece in pieces { stages[index].append(piece, to: &output) }
            pieces = output
        }
        return String(decoding: pieces.flatMap(\.bytes), as: UTF8.self)
    }
}
