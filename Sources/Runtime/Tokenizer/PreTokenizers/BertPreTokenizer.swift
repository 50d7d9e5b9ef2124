/// BERT's: words are what lies between white space, and each punctuation mark is one.
struct BertPreTokenizer: PreTokenizer {
    private static let punctuation = ScalarSet.punctuation

    func apply(to text: inout PreTokenizedText) {
        var output: [Range<Int>] = []
        output.reserveCapacity(text.bytes.count / 4)
        text.bytes.withUnsafeBufferPointer { buffer in
            for piece in text.pieces { Self.cut(buffer, piece, into: &output) }
        }
        text.pieces = output
    }

    private static func cut(
        _ text: UnsafeBufferPointer<UInt8>, _ piece: Range<Int>, into output: inout [Range<Int>]
    ) {
        let punctuation = punctuation
        var start = piece.lowerBound
        var position = start
        while position < piece.upperBound {
            let (value, length) = text.scalar(at: position)
            let isSpace =
                value < 0x80
                ? value == 0x20 || 0x09...0x0D ~= value
                : Unicode.Scalar(value)?.properties.isWhitespace == true
            if isSpace || punctuation.contains(value) {
                if start < position { output.append(start..<position) }
                if !isSpace { output.append(position..<position + length) }
                start = position + length
            }
            position += length
        }
        if start < position { output.append(start..<position) }
    }
}
