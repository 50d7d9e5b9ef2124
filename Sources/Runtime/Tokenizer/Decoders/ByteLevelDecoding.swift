/// Undoes `ByteSpelling`; what the bytes of all tokens come to is one string, repaired where it is not UTF-8.
struct ByteLevelDecoding: DecodingStage {
    private var token: [UInt8] = []
    private var pending: [UInt8] = []
    private var isOpen = false

    mutating func append(_ piece: DecodedPiece, to output: inout [DecodedPiece]) {
        token += piece.bytes
        guard piece.closes else { return }
        // A token with a character outside the spelling stands for itself.
        pending += token.withUnsafeBufferPointer(ByteSpelling.bytes) ?? token
        token = []
        let settled = pending.settledUTF8Count
        guard settled > 0 else { return }
        send(pending[..<settled], closes: false, to: &output)
        pending.removeFirst(settled)
    }

    mutating func finish(_ output: inout [DecodedPiece]) {
        send(pending[...], closes: true, to: &output)
        pending = []
    }

    private mutating func send(
        _ bytes: ArraySlice<UInt8>, closes: Bool, to output: inout [DecodedPiece]
    ) {
        let text = String(decoding: bytes, as: UTF8.self)
        output.append(DecodedPiece(bytes: Array(text.utf8), opens: !isOpen, closes: closes))
        isOpen = true
    }
}

extension [UInt8] {
    /// How many bytes can be repaired without what follows: all but a character that is cut off at the end.
    fileprivate var settledUTF8Count: Int {
        // A lead byte at most three before the end, of a character that is longer than what is there.
        for back in 1...3 where back <= count {
            let byte = self[count - back]
            if byte & 0xC0 == 0x80 { continue }
            let length = byte < 0xC2 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : byte < 0xF5 ? 4 : 1
            return length > back ? count - back : count
        }
        return count
    }
}
