import LorikeetRuntime
import Testing

struct StreamingDecoderTests {
    private func stream(_ tokenizer: Tokenizer, _ ids: [Int32]) -> [String] {
        var decoder = tokenizer.streamingDecoder(skipSpecialTokens: false)
        return ids.map { decoder.append($0) } + [decoder.finish()]
    }

    @Test(arguments: ["byte_level", "metaspace"])
    func `what is streamed is what is decoded, and whole characters only`(name: String) throws {
        let tokenizer = try TokenizerCases.tokenizer(name)
        for row in try TokenizerCases.json("\(name).cases.json").elements("texts") {
            let text = try #require(row["decoded"]?.string)
            // U+FFFD in the text itself is a character like any other.
            guard !text.unicodeScalars.contains("\u{FFFD}") else { continue }
            let parts = stream(tokenizer, try #require(row["ids"]?.ids))
            #expect(spelled(parts.joined()) == spelled(text))
            #expect(parts.allSatisfy { !$0.unicodeScalars.contains("\u{FFFD}") }, "\(parts)")
        }
    }

    @Test func `bytes of a character come out together, wherever the tokens cut it`() throws {
        // One token for each way to cut a character: every byte string of its 1 to 4 bytes.
        let character = "🙂"
        let bytes = Array(character.utf8)
        var vocabulary: JSON = [:]
        var ids: [[UInt8]: Int32] = [:]
        for start in bytes.indices {
            for end in start + 1...bytes.count {
                let piece = Array(bytes[start..<end])
                vocabulary[spell(piece)] = .int(ids.count)
                ids[piece] = Int32(ids.count)
            }
        }
        let tokenizer = try Tokenizer(
            json: ["model": ["vocab": vocabulary], "decoder": ["type": "ByteLevel"]], source: "test"
        )
        for cuts in 0..<1 << (bytes.count - 1) {
            var pieces: [[UInt8]] = [[]]
            for (index, byte) in bytes.enumerated() {
                pieces[pieces.count - 1].append(byte)
                if index < bytes.count - 1, cuts >> index & 1 == 1 { pieces.append([]) }
            }
            let tokens = pieces.compactMap { ids[$0] }
            let parts = stream(tokenizer, tokens)
            #expect(parts == Array(repeating: "", count: tokens.count - 1) + [character, ""])
            // A stream that ends within the character repairs what there is.
            #expect(tokenizer.decode(tokens.dropLast()) == (tokens.count > 1 ? "\u{FFFD}" : ""))
        }
    }

    @Test func `bytes that will never be a character are not waited for`() throws {
        let tokenizer = try TokenizerCases.tokenizer("byte_level")
        var decoder = tokenizer.streamingDecoder()
        let lead = try #require(tokenizer.id(of: spell([0xC3])))
        let letter = try #require(tokenizer.id(of: "a"))
        #expect(decoder.append(lead) == "")
        #expect(decoder.append(letter) == "\u{FFFD}a")
        #expect(decoder.finish() == "")
    }

    @Test func `byte tokens are held until their run ends`() throws {
        let tokenizer = try TokenizerCases.tokenizer("metaspace")
        let run = try ["<0xE6>", "<0xBC>", "<0xA2>"].map { try #require(tokenizer.id(of: $0)) }
        let letter = try #require(tokenizer.id(of: "a"))
        #expect(stream(tokenizer, run + [letter]) == ["", "", "", "漢a", ""])
        #expect(stream(tokenizer, run) == ["", "", "", "漢"])
        // The reference gives up the whole run for one bad byte.
        #expect(
            stream(tokenizer, run + run.prefix(1)).joined() == "\u{FFFD}\u{FFFD}\u{FFFD}\u{FFFD}")
    }

    @Test func `special tokens are left out unless they are asked for`() throws {
        let tokenizer = try TokenizerCases.tokenizer("byte_level")
        var decoder = tokenizer.streamingDecoder()
        let ids = tokenizer.encode("<|im_start|>hi<|im_end|>")
        #expect(ids.map { decoder.append($0) }.joined() + decoder.finish() == "hi")
        #expect(stream(tokenizer, ids).joined() == "<|im_start|>hi<|im_end|>")
    }

    @Test func `ids that no token has say nothing`() throws {
        let tokenizer = try TokenizerCases.tokenizer("byte_level")
        #expect(tokenizer.decode([-1, Int32.max, 5000]) == "")
    }

    /// GPT-2's spelling of bytes, as far as these tests need it: 0x80 and up.
    private func spell(_ bytes: [UInt8]) -> String {
        var text = String.UnicodeScalarView()
        for byte in bytes {
            let value: UInt32 =
                switch byte {
                // 33 control bytes and the space, then 0x7F, come before 0x80 in the table.
                case 0x80...0xA0: 0x100 + 34 + UInt32(byte - 0x80)
                case 0xAD: 0x143
                default: UInt32(byte)
                }
            if let scalar = Unicode.Scalar(value) { text.append(scalar) }
        }
        return String(text)
    }
}
