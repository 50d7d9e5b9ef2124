import LorikeetRuntime
import Testing

/// Files that must be refused, with the key that is wrong.
struct BadTokenizerTests {
    /// A small valid file; each case breaks one thing.
    private static let valid: JSON = [
        "added_tokens": [["id": 3, "content": "<s>", "special": true]],
        "pre_tokenizer": ["type": "ByteLevel"],
        "decoder": ["type": "ByteLevel"],
        "model": [
            "type": "BPE", "vocab": ["a": 0, "b": 1, "ab": 2], "merges": [["a", "b"]],
        ],
    ]

    @Test func `the file that the cases break is itself accepted`() throws {
        #expect(try Tokenizer(json: Self.valid, source: "test").encode("ab<s>") == [2, 3])
    }

    @Test(
        arguments: [
            ("model", nil, "model"), ("model.vocab", nil, "model.vocab"),
            ("model.vocab", [:], "model.vocab"), ("model.vocab", [], "model.vocab"),
            ("model.vocab", [1], "model.vocab[0]"), ("model.vocab", [["a", 0.5]], "model.vocab"),
            ("model.vocab", [["a"]], "model.vocab[0]"),
            ("model.vocab", [["a", "b"]], "model.vocab[0]"),
            ("model.vocab", [["a", 1, 2]], "model.vocab[0]"),
            ("model.vocab", [[1, 2]], "model.vocab[0]"),
            ("model.vocab", ["a": 0, "b": 0], "model.vocab.b"),
            ("model.vocab", ["a": -1], "model.vocab.a"),
            ("model.vocab", ["a": 1.5], "model.vocab.a"),
            ("model.vocab", ["a": "0"], "model.vocab.a"),
            ("model.vocab", ["a": 4_294_967_296], "model.vocab.a"),
            ("model.vocab", ["a": 2_147_483_647], "model.vocab.a"),
            ("model.merges", [["a", "x"]], "model.merges[0]"),
            ("model.merges", ["a b", "ab"], "model.merges[1]"),
            ("model.merges", [["b", "a"]], "model.merges[0]"),
            ("model.merges", [[1, 2]], "model.merges[0]"),
            ("model.merges", [["a", "b", "c"]], "model.merges[0]"),
            ("model.merges", "a b", "model.merges"),
            ("model.type", "Unigram", "model.vocab"),
            ("model.type", "WordPiece", "model.unk_token"),
            ("model.type", "WordLevel", "model.type"),
            ("model", ["type": "Unigram", "vocab": [["a", 0]], "unk_id": 1], "model.unk_id"),
            ("model", ["type": "Unigram", "vocab": [["a", 0], ["a", 1]]], "model.vocab.a"),
            ("model.type", 7, "model.type"), ("model.dropout", 0.1, "model.dropout"),
            ("model.unk_token", "<unk>", "model.unk_token"),
            ("model.byte_fallback", 1, "model.byte_fallback"),
            ("normalizer", ["type": "Precompiled"], "normalizer.precompiled_charsmap"),
            (
                "normalizer", ["type": "Precompiled", "precompiled_charsmap": "?"],
                "normalizer.precompiled_charsmap"
            ),
            (
                "normalizer", ["type": "Precompiled", "precompiled_charsmap": "BAAAAA=="],
                "normalizer.precompiled_charsmap"
            ),
            ("normalizer", ["type": "BertNormalizer", "lowercase": 1], "normalizer.lowercase"),
            (
                "normalizer", ["type": "Sequence", "normalizers": [["type": "Odd"]]],
                "normalizer.normalizers[0].type"
            ),
            ("normalizer", ["kind": "NFC"], "normalizer.type"),
            ("normalizer", ["type": "Replace", "content": ""], "normalizer.pattern"),
            (
                "normalizer", ["type": "Replace", "pattern": ["Regex": "("], "content": ""],
                "normalizer.pattern"
            ),
            ("pre_tokenizer", ["type": "UnicodeScripts"], "pre_tokenizer.type"),
            (
                "pre_tokenizer", ["type": "Metaspace", "replacement": "ab"],
                "pre_tokenizer.replacement"
            ),
            (
                "pre_tokenizer", ["type": "Split", "pattern": ["String": "a"], "behavior": "Odd"],
                "pre_tokenizer.behavior"
            ),
            (
                "pre_tokenizer",
                [
                    "type": "Sequence",
                    "pretokenizers": [["type": "ByteLevel"], ["type": "Digits"]],
                ],
                "pre_tokenizer.pretokenizers[0]"
            ),
            ("post_processor", ["type": "Odd"], "post_processor.type"),
            ("post_processor", ["type": "BertProcessing"], "post_processor.cls"),
            (
                "post_processor", ["type": "BertProcessing", "cls": ["a", 0], "sep": ["b", -1]],
                "post_processor.sep"
            ),
            (
                "post_processor",
                ["type": "TemplateProcessing", "single": [["SpecialToken": ["id": "<s>"]]]],
                "post_processor.single[0].SpecialToken.id"
            ),
            (
                "post_processor", ["type": "TemplateProcessing", "single": []],
                "post_processor.single"
            ),
            (
                "post_processor",
                [
                    "type": "TemplateProcessing",
                    "single": [["SpecialToken": ["id": "x"]], ["Sequence": ["id": "A"]]],
                    "special_tokens": ["x": ["ids": [99]]],
                ], "post_processor"
            ),
            ("decoder", ["type": "CTC"], "decoder.type"),
            ("decoder", ["type": "Strip", "content": " ", "start": -1], "decoder.start"),
            ("added_tokens", ["x"], "added_tokens[0].content"),
            ("added_tokens", [["content": "x"]], "added_tokens[0].id"),
            ("added_tokens", [["content": "x", "id": -4]], "added_tokens[0].id"),
            ("added_tokens", [["content": "x", "id": 2]], "x"),
            ("added_tokens", [["content": "a", "id": 9]], "added_tokens"),
            ("added_tokens", [["content": "x", "id": 2_000_000_000]], "x"),
        ] as [(String, JSON?, String)])
    func `a file that is wrong in one place is refused with its key`(
        key: String, value: JSON?, named: String
    ) {
        let path = key.split(separator: ".").map(String.init)
        var document = Self.valid
        if path.count == 1 {
            document[path[0]] = value
        } else {
            document[path[0]]?[path[1]] = value
        }
        let error = #expect(throws: LorikeetError.self) {
            try Tokenizer(json: document, source: "tokenizer.json")
        }
        #expect(
            error?.description.hasPrefix("tokenizer.json: ") == true, "\(error?.description ?? "")")
        #expect(error?.description.contains(": \(named):") == true, "\(error?.description ?? "")")
    }

    @Test func `a document that is no object is refused`() {
        #expect(throws: LorikeetError.self) { try Tokenizer(json: [1, 2], source: "test") }
    }

    @Test func `a folder without tokenizer is refused`() {
        let error = #expect(throws: LorikeetError.self) { try Tokenizer(folder: "/nonexistent") }
        #expect(error?.code == .notFound)
    }

    @Test(arguments: [["bos_token": "x"], ["eos_token": 5], ["bos_token": ["id": 3]]] as [JSON])
    func `a configuration that contradicts the tokenizer is refused`(configuration: JSON) throws {
        var tokenizer = try Tokenizer(json: Self.valid, source: "test")
        #expect(throws: LorikeetError.self) {
            try tokenizer.apply(configuration: configuration, source: "tokenizer_config.json")
        }
    }
}
