import LorikeetRuntime
import OrderedCollections
import Testing

/// Against what transformers makes of the same metadata, to the byte.
struct GGUFTokenizerTests {
    @Test func `metadata become the files that transformers saves`() throws {
        let file = try TokenizerCases.json("gguf.json")
        let shared = try #require(file["shared"])
        for row in try file.elements("rows") {
            var (metadata, expected) = (row["metadata"] ?? .null, row["tokenizer"] ?? .null)
            if metadata["tokens"] == nil {
                for key in ["tokens", "merges"] { metadata[key] = shared[key] }
                expected["model"]?["vocab"] = shared["vocab"]
                expected["model"]?["merges"] = shared["pairs"]
            }
            if metadata["model"]?.string == "llama" {
                // transformers puts no prefix before a text that begins with a space. SentencePiece and
                // llama.cpp do, and their ids are the golden ones.
                expected["pre_tokenizer"] = .null
                expected["normalizer"] = [
                    "type": "Sequence",
                    "normalizers": [
                        ["type": "Prepend", "prepend": "▁"],
                        ["type": "Replace", "pattern": ["String": " "], "content": "▁"],
                    ],
                ]
            }
            let files = try huggingFaceTokenizer(ggufMetadata: keyed(metadata), source: "test.gguf")
            let name = Comment(rawValue: row["name"]?.string ?? "")
            #expect(sorted(files["tokenizer.json"]) == sorted(expected), name)
            #expect(sorted(files["tokenizer_config.json"]) == sorted(row["configuration"]), name)
            // What was made can be read.
            let tokenizer = try Tokenizer(json: files["tokenizer.json"] ?? .null, source: "test")
            #expect(!tokenizer.encode("In the beginning", addSpecialTokens: false).isEmpty)
        }
    }

    @Test func `symbols of Gemma's vocabulary are cut as SentencePiece cuts them`() throws {
        let metadata = keyed(try TokenizerCases.json("gemma_pieces.gguf.json"))
        let files = try huggingFaceTokenizer(ggufMetadata: metadata, source: "test.gguf")
        let tokenizer = try Tokenizer(json: files["tokenizer.json"] ?? .null, source: "test")
        for row in try TokenizerCases.json("gemma_pieces.cases.json").elements("texts") {
            let text = try #require(row["text"]?.string)
            #expect(
                try tokenizer.encode(text, addSpecialTokens: false) == #require(row["ids"]?.ids),
                "\(String(reflecting: text))")
        }
    }

    /// The text of a document whose keys are in order, since the reference writes a model's in another.
    private func sorted(_ json: JSON?) -> String {
        func sorted(_ json: JSON) -> JSON {
            switch json {
            case .array(let elements): return .array(elements.map(sorted))
            case .object(let members):
                var output = JSON.Object()
                for (key, value) in members.sorted(by: {
                    Array($0.key.utf8).lexicographicallyPrecedes($1.key.utf8)
                }) {
                    output[key] = sorted(value)
                }
                return .object(output)
            default: return json
            }
        }
        return json.map { sorted($0).text() } ?? ""
    }

    private func keyed(_ metadata: JSON) -> OrderedDictionary<String, JSON> {
        var keys: OrderedDictionary<String, JSON> = ["general.architecture": "llama"]
        for (key, value) in metadata.object ?? [:] { keys["tokenizer.ggml.\(key)"] = value }
        return keys
    }

    @Test func `the chat template is handed on`() throws {
        var metadata = keyed(Self.valid)
        metadata["tokenizer.chat_template"] = "{{ messages }}"
        let files = try huggingFaceTokenizer(ggufMetadata: metadata, source: "test.gguf")
        #expect(files["chat_template.jinja"]?.string == "{{ messages }}")
        let without = try huggingFaceTokenizer(ggufMetadata: keyed(Self.valid), source: "test.gguf")
        #expect(without["chat_template.jinja"] == nil)
    }

    private static let valid: JSON = [
        "model": "gpt2", "tokens": ["a", "b", "ab"], "merges": ["a b"],
    ]

    @Test(
        arguments: [
            ("model", nil, "model"), ("model", "rwkv", "model"), ("model", "t5", "scores"),
            ("model", "bert", "unknown_token_id"), ("tokens", nil, "tokens"),
            ("tokens", [], "tokens"),
            ("tokens", ["a", 1], "tokens[1]"), ("tokens", "a", "tokens"), ("merges", nil, "merges"),
            ("merges", ["ab"], "merges[0]"), ("merges", ["a b", "a b c"], "merges[1]"),
            ("pre", "odd", "pre"),
            ("pre", 3, "pre"), ("token_type", [1], "token_type"),
            ("bos_token_id", 3, "bos_token_id"),
            ("eos_token_id", -7, "eos_token_id"), ("unknown_token_id", "a", "unknown_token_id"),
            ("add_bos_token", 1, "add_bos_token"),
        ] as [(String, JSON?, String)])
    func `metadata that are wrong in one place are refused with their key`(
        key: String, value: JSON?, named: String
    ) {
        var metadata = keyed(Self.valid)
        metadata["tokenizer.ggml.\(key)"] = value
        let error = #expect(throws: LorikeetError.self) {
            try huggingFaceTokenizer(ggufMetadata: metadata, source: "test.gguf")
        }
        #expect(
            error?.description.hasPrefix("test.gguf: tokenizer.ggml.\(named):") == true,
            "\(error?.description ?? "")")
    }

    @Test func `scores must be there for every token of a SentencePiece vocabulary`() {
        for scores: JSON? in [nil, [0.5], ["a", "b"]] {
            var metadata = keyed(["model": "llama", "tokens": ["a", "b"]])
            metadata["tokenizer.ggml.scores"] = scores
            #expect(throws: LorikeetError.self) {
                try huggingFaceTokenizer(ggufMetadata: metadata, source: "test.gguf")
            }
        }
    }
}
