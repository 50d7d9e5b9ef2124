import LorikeetRuntime
import Testing

/// tokenizer.json as text: what a JSON value cannot say.
struct TokenizerDocumentTests {
    private func tokenizer(_ model: String) throws -> Tokenizer {
        var text = #"{"pre_tokenizer": {"type": "ByteLevel"}, "decoder": {"type": "ByteLevel"}, "#
        text += #""model": {\#(model)}}"#
        return try text.withUTF8 {
            try Tokenizer(parsing: UnsafeRawBufferPointer($0), source: "tokenizer.json")
        }
    }

    @Test(
        arguments: [
            #""vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a", "b"]]"#,
            #""merges": ["a b"], "vocab": {"a": 0, "b": 1, "ab": 2}"#,
            #""vocab": {"\u0061": 0, "b": 1, "a\u0062": 2}, "merges": [["a", "\u0062"]]"#,
            #""vocab" : { "b":1,"a":0 , "ab" :2.0 } ,"type":"BPE","merges":[ [ "a","b" ] ]"#,
        ])
    func `spelling and order do not matter`(model: String) throws {
        #expect(try tokenizer(model).encode("abb") == [2, 1])
    }

    @Test func `tokens that are canonically equivalent stay apart`() throws {
        let tokenizer = try tokenizer(#""vocab": {"\u00E9": 0, "e\u0301": 1}, "merges": []"#)
        #expect(tokenizer.id(of: "\u{E9}") == 0)
        #expect(tokenizer.id(of: "e\u{301}") == 1)
    }

    @Test(
        arguments: [
            #""vocab": {"a": 0, "a": 1}"#, #""vocab": {"a": 0, "\u0061": 1}"#,
            #""vocab": {"a": 0}, "vocab": {"b": 1}"#, #""vocab": {"a": 0}, "vocab": null"#,
            #""vocab": {"a": 0}, "merges": [], "merges": []"#, #""vocab": {"a" 0}"#,
            #""vocab": {"a": 0,}"#, #""vocab": {"a": 0"#, #""vocab": {"a"#, #""vocab": {1: 0}"#,
            #""vocab": {"a": }"#, #""vocab": {"a\q": 0}"#, #""vocab": {"a\u00": 0}"#,
            "\"vocab\": {\"a\n\": 0}", #""vocab": {"a": 0}, "merges": [["a", "a"]"#,
            #""vocab": {"a": 0}, "merges": ["a  a"]"#, #""vocab": {"a": 0}, "merges": [{}]"#,
            #""vocab": {"a": 0}, "merges": [["a", ["a"]]]"#,
            #""vocab": {"a": 0}, "merges": [["a", "a", 1]"#,
            #""vocab": {"a": 00}"#, #""vocab": {"a": 18446744073709551616}"#,
        ])
    func `a list that is broken is refused`(model: String) {
        let error = #expect(throws: LorikeetError.self) { try tokenizer(model) }
        #expect(error?.code == .malformed)
        #expect(error?.description.hasPrefix("tokenizer.json: ") == true)
    }

    @Test(arguments: [[0xFF], [0xC3], [0xED, 0xA0, 0x80], [0xC0, 0x80]] as [[UInt8]])
    func `a text that is not UTF-8 is refused, wherever it is`(bytes: [UInt8]) {
        // 65,536 bytes are checked at a time.
        for padding in [0, 65_500, 65_520, 65_536, 200_000] {
            let space = String(repeating: " ", count: padding)
            let text = Array(#"{\#(space)"model": {"vocab": {""#.utf8) + bytes
            let document = text + #"": 0}}}"#.utf8
            let error = #expect(throws: LorikeetError.self) {
                try document.withUnsafeBytes { try Tokenizer(parsing: $0, source: "x") }
            }
            #expect(error?.description.contains("UTF-8") == true)
        }
    }

    @Test func `scalars across the pieces that are checked are accepted`() throws {
        for padding in 65_480..<65_540 {
            let space = String(repeating: " ", count: padding)
            var text = #"{\#(space)"model": {"vocab": {"😀é": 0}}}"#
            let tokenizer = try text.withUTF8 {
                try Tokenizer(parsing: UnsafeRawBufferPointer($0), source: "x")
            }
            #expect(tokenizer.id(of: "😀é") == 0)
        }
    }
}
