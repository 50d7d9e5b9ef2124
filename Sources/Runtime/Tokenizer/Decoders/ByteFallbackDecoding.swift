/// Turns runs of byte tokens `<0x0A>` into text; a run that is not UTF-8 becomes a U+FFFD for every byte.
///
/// Only the end of a run tells which of the two it is, so a run is held back until then.
struct ByteFallbackDecoding: DecodingStage {
    private var token: [UInt8] = []
    private var run: [UInt8] = []

    mutating func append(_ piece: DecodedPiece, to output: inout [DecodedPiece]) {
        token += piece.bytes
        guard piece.closes else { return }
        defer { token = [] }
        if let byte = Self.byte(of: token) {
            run.append(byte)
            return
        }
        finish(&output)
        output.append(DecodedPiece(bytes: token))
    }

    mutating func finish(_ output: inout [DecodedPiece]) {
        guard !run.isEmpty else { return }
        if String(validating: run, as: UTF8.self) != nil {
            output.append(DecodedPiece(bytes: run))
        } else {
            for _ in run { output.append(DecodedPiece(bytes: Array("\u{FFFD}".utf8))) }
        }
        run = []
    }

    /// The byte that a token such as `<0x0A>` stands for; nil for any other.
    static func byte(of token: [UInt8]) -> UInt8? {
        guard token.count == 6, token.starts(with: "<0x".utf8), token[5] == UInt8(ascii: ">") else {
            return nil
        }
        // As in the reference, a sign is a digit's equal.
        return UInt8(String(decoding: token[3..<5], as: UTF8.self), radix: 16)
    }
}
