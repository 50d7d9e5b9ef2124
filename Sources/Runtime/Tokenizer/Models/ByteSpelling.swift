/// GPT-2's spelling of bytes as printable characters: `Ġ` is a space, `Ċ` a line feed.
///
/// Bytes that are printable Latin-1 characters spell themselves; the others take U+0100, U+0101, … in order.
enum ByteSpelling {
    /// Each byte's character.
    static let scalars: [Unicode.Scalar] = {
        var next: UInt32 = 0x100
        return (UInt8.min...UInt8.max).map { byte in
            switch byte {
            case 0x21...0x7E, 0xA1...0xAC, 0xAE...0xFF: return Unicode.Scalar(byte)
            default:
                defer { next += 1 }
                return Unicode.Scalar(next) ?? "\u{FFFD}"
            }
        }
    }()

    /// The byte that each scalar below 0x144 spells, or -1.
    private static let bytes: [Int16] = {
        var bytes = [Int16](repeating: -1, count: 0x144)
        for (byte, scalar) in scalars.enumerated() { bytes[Int(scalar.value)] = Int16(byte) }
        return bytes
    }()

    /// The byte that a scalar spells.
    static func byte(of value: UInt32) -> UInt8? {
        value < 0x144 ? UInt8(exactly: bytes[Int(value)]) : nil
    }

    /// The bytes that a token spells, or nil if one of its characters spells none.
    static func bytes(of token: UnsafeBufferPointer<UInt8>) -> [UInt8]? {
        var output: [UInt8] = []
        output.reserveCapacity(token.count)
        var position = 0
        while position < token.count {
            let (value, length) = token.scalar(at: position)
            guard let byte = byte(of: value) else { return nil }
            output.append(byte)
            position += length
        }
        return output
    }

    /// The characters that spell `bytes`, in UTF-8.
    static func spell(_ bytes: some Sequence<UInt8>) -> [UInt8] {
        var output: [UInt8] = []
        for byte in bytes {
            output += UTF8.encode(scalars[Int(byte)]) ?? UTF8.encodedReplacementCharacter
        }
        return output
    }
}
