import Foundation
import LorikeetRuntime
import Testing

/// Against what the `tokenizers` package recorded; equality is exact.
struct TokenizerTests {
    private func check(_ tokenizer: Tokenizer, _ cases: JSON) throws {
        for row in try cases.elements("texts") {
            let text = try #require(row["text"]?.string)
            let ids = try #require(row["ids"]?.ids)
            #expect(tokenizer.encode(text) == ids, "\(String(reflecting: text))")
            #expect(tokenizer.encode(text, addSpecialTokens: false) == row["bare"]?.ids)
            #expect(spelled(tokenizer.decode(ids)) == spelled(row["decoded"]?.string))
            #expect(
                spelled(tokenizer.decode(ids, skipSpecialTokens: true))
                    == spelled(row["read"]?.string))
        }
        for row in try cases.elements("tokens") {
            let ids = try #require(row["ids"]?.ids)
            #expect(spelled(tokenizer.decode(ids)) == spelled(row["decoded"]?.string), "\(ids)")
            #expect(
                spelled(tokenizer.decode(ids, skipSpecialTokens: true))
                    == spelled(row["read"]?.string))
        }
    }

    @Test(arguments: ["byte_level", "metaspace"])
    func `whole tokenizers encode and decode as the reference does`(name: String) throws {
        try check(TokenizerCases.tokenizer(name), TokenizerCases.json("\(name).cases.json"))
    }

    @Test func `a tokenizer laid out like Llama 3's does as well`() throws {
        let cases = try TokenizerCases.json("llama3.json")
        let words = try TokenizerCases.json("byte_level.tokenizer.json")
        var document = try #require(cases["tokenizer"])
        for key in ["vocab", "merges"] { document["model"]?[key] = words["model"]?[key] }
        try check(Tokenizer(json: document, source: "llama3"), cases)
    }

    @Test func `every component does to a text what the reference's does`() throws {
        let file = try TokenizerCases.json("components.json")
        for row in try file.elements("encoders") {
            var document = try #require(row["tokenizer"])
            document["model"] = try model(document, file)
            let tokenizer = try Tokenizer(json: document, source: "components")
            for probe in try row.elements("texts").compactMap(\.array) {
                let text = try #require(probe[0].string)
                #expect(
                    tokenizer.encode(text) == probe[1].ids,
                    "\(row["name"]?.string ?? ""): \(String(reflecting: text))")
            }
        }
    }

    @Test func `every decoder turns tokens into the reference's text, streamed or not`() throws {
        let file = try TokenizerCases.json("components.json")
        for row in try file.elements("decoders") {
            let document: JSON = [
                "model": ["vocab": file["vocab"] ?? .null], "decoder": row["decoder"] ?? .null,
            ]
            let tokenizer = try Tokenizer(json: document, source: "components")
            for probe in try row.elements("tokens").compactMap(\.array) {
                let ids = try #require(probe[0].ids)
                #expect(
                    spelled(tokenizer.decode(ids)) == spelled(probe[1].string),
                    "\(row["name"]?.string ?? ""): \(ids)")
            }
        }
    }

    /// The vocabulary that the components share, with what one of them adds.
    private func model(_ document: JSON, _ file: JSON) throws -> JSON {
        var model = try #require(document["model"])
        var words = try #require(file["vocab"]?.object)
        for token in try model.elements("added_vocab") {
            words[try #require(token.string)] = .int(words.count)
        }
        model["vocab"] = .object(words)
        return model
    }

    @Test func `text that is not UTF-8 is repaired`() throws {
        let tokenizer = try TokenizerCases.tokenizer("byte_level")
        let broken: [([UInt8], String)] = [
            ([0xFF], "\u{FFFD}"), ([0x61, 0xC3], "a\u{FFFD}"), ([0xC3, 0x28], "\u{FFFD}("),
            ([0xE4, 0xBD, 0x61], "\u{FFFD}a"), ([0xED, 0xA0, 0x80], "\u{FFFD}\u{FFFD}\u{FFFD}"),
            ([0xF0, 0x9F, 0x99], "\u{FFFD}"), ([], ""),
        ]
        for (bytes, repaired) in broken {
            let ids = bytes.withUnsafeBytes { tokenizer.encode(bytes: $0) }
            #expect(ids == tokenizer.encode(repaired), "\(bytes)")
        }
    }

    @Test func `tokens, ids and roles can be looked up`() throws {
        var tokenizer = try TokenizerCases.tokenizer("byte_level")
        #expect(tokenizer.vocabularyCount == 1202)
        #expect(tokenizer.idBound == 1202)
        #expect(tokenizer.id(of: "<|im_end|>") == 2)
        #expect(tokenizer.id(of: "no such token") == nil)
        #expect(tokenizer.token(of: 1200) == "<tool>")
        #expect(tokenizer.token(of: 1202) == nil)
        #expect(tokenizer.token(of: -1) == nil)
        #expect(tokenizer.isSpecial(2))
        #expect(!tokenizer.isSpecial(1200))
        #expect(tokenizer.beginningOfText == nil)
        try tokenizer.apply(
            configuration: [
                "bos_token": "<|im_start|>", "eos_token": ["content": "<|im_end|>"],
                "add_eos_token": true,
            ], source: "tokenizer_config.json")
        #expect(tokenizer.beginningOfText == 1)
        #expect(tokenizer.beginningOfTextToken == "<|im_start|>")
        #expect(tokenizer.endOfText == 2)
        #expect(tokenizer.endOfTextToken == "<|im_end|>")
        #expect(tokenizer.encode("").isEmpty)
    }

    @Test func `tokens that are canonically equivalent stay apart`() throws {
        let tokenizer = try Tokenizer(
            json: [
                "model": [
                    "vocab": ["\u{E9}": 0, "e": 1, "\u{301}": 2, "e\u{301}": 3],
                    "merges": ["e \u{301}"],
                ]
            ],
            source: "test")
        #expect(tokenizer.encode("\u{E9}e\u{301}") == [0, 3])
        #expect(tokenizer.id(of: "e\u{301}") == 3)
    }

    @Test func `a word of thirty thousand letters takes no quadratic time`() throws {
        let tokenizer = try TokenizerCases.tokenizer("byte_level")
        let text = String(repeating: "the", count: 10_000)
        let ids = tokenizer.encode(text)
        #expect(tokenizer.decode(ids) == text)
        // The merges of a long word come from the heap, those of a short one from scans.
        #expect(ids.prefix(10) == tokenizer.encode(String(repeating: "the", count: 12)).prefix(10))
    }
}

/// SmolLM2's own tokenizer, where its files are at hand.
@Suite(.enabled(if: TokenizerCases.smolLM2 != nil))
struct SmolLM2TokenizerTests {
    @Test func `78 texts encode and decode as transformers does`() throws {
        let tokenizer = try Tokenizer(folder: #require(TokenizerCases.smolLM2))
        let cases = try TokenizerCases.json("smollm2_cases.json").elements("cases")
        #expect(cases.count == 78)
        for row in cases {
            let text = try #require(row["text"]?.string)
            let ids = try #require(row["ids"]?.ids)
            #expect(tokenizer.encode(text) == ids, "\(String(reflecting: text))")
            #expect(spelled(tokenizer.decode(ids)) == spelled(row["decoded"]?.string))
        }
        #expect(tokenizer.beginningOfTextToken == "<|im_start|>")
        #expect(tokenizer.endOfTextToken == "<|im_end|>")
    }

    @Test func `chats rendered by the template encode as transformers does`() throws {
        let tokenizer = try Tokenizer(folder: #require(TokenizerCases.smolLM2))
        for chat in try TokenizerCases.json("smollm2_cases.json").elements("chats") {
            #expect(tokenizer.encode(try #require(chat["text"]?.string)) == chat["ids"]?.ids)
        }
    }
}
