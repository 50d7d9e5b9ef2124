import Foundation
import LorikeetQuant
import LorikeetRuntime
import TestSupport
import Testing

/// Vocabularies of every kind, against what their own packages recorded; equality is exact.
struct VocabularyTests {
    /// The fixture `file` as the only vocabulary of a folder, under the `name` that it has there.
    private func tokenizer(
        _ file: String, as name: String = "tokenizer.model", configuration: JSON? = nil
    ) throws -> Tokenizer {
        try Fixtures.withTemporaryFolder { folder in
            try FileManager.default.copyItem(
                atPath: TokenizerCases.path(file), toPath: folder + "/" + name)
            if let configuration {
                try configuration.data().write(
                    to: URL(filePath: folder + "/tokenizer_config.json"))
            }
            return try Tokenizer(folder: folder)
        }
    }

    private static let fixtures = [
        ("llama_pieces", "tokenizer.model"), ("gemma_pieces", "tokenizer.model"),
        ("unigram_pieces", "spiece.model"), ("bert_pieces", "spm.model"),
        ("characters", "tokenizer.model"),
    ]

    @Test(arguments: fixtures)
    func `SentencePiece models give its ids and its text`(fixture: String, name: String) throws {
        let tokenizer = try tokenizer("\(fixture).model", as: name)
        for row in try TokenizerCases.json("\(fixture).cases.json").elements("texts") {
            let text = try #require(row["text"]?.string)
            let ids = try #require(row["ids"]?.ids)
            #expect(
                tokenizer.encode(text, addSpecialTokens: false) == ids,
                "\(String(reflecting: text))")
            // With unknown tokens in it a text is ours, as transformers has it, not SentencePiece's.
            guard let decoded = row["decoded"]?.string else { continue }
            #expect(spelled(tokenizer.decode(ids)) == spelled(decoded))
        }
    }

    @Test func `the tokens around a text are those of the family`() throws {
        let llama = try tokenizer("llama_pieces.model")
        #expect(llama.encode("In") == [1] + llama.encode("In", addSpecialTokens: false))
        #expect(llama.beginningOfTextToken == "<s>")
        #expect(llama.endOfTextToken == "</s>")
        let t5 = try tokenizer("unigram_pieces.model", as: "spiece.model")
        #expect(t5.encode("In") == t5.encode("In", addSpecialTokens: false) + [1])
        let bert = try tokenizer("bert_pieces.model", as: "spm.model")
        #expect(bert.encode("In") == [1] + bert.encode("In", addSpecialTokens: false) + [2])
        // DeBERTa's mask follows its vocabulary.
        let mask = try #require(bert.id(of: "[MASK]"))
        #expect(Int(mask) == bert.vocabularyCount - 1)
        #expect(bert.encode("a[MASK]", addSpecialTokens: false).last == mask)
    }

    @Test func `tokenizer_config.json says what is added`() throws {
        let plain = try tokenizer("llama_pieces.model")
        let configured = try tokenizer(
            "llama_pieces.model",
            configuration: [
                "add_bos_token": false, "add_eos_token": true, "legacy": false,
                "bos_token": "<s>", "eos_token": ["content": "<end>"],
                "added_tokens_decoder": [
                    "700": ["content": "<end>", "special": true],
                    "701": ["content": "<tool>", "special": false, "lstrip": true],
                ],
            ])
        let ids = plain.encode("In", addSpecialTokens: false)
        #expect(configured.encode("In") == ids + [2])
        #expect(configured.endOfText == 700)
        #expect(configured.encode("In<end>", addSpecialTokens: false) == ids + [700])
        #expect(configured.encode("In  <tool>", addSpecialTokens: false) == ids + [701])
        // What follows a special token gets a prefix by default, and none with "legacy": false.
        let bare = plain.encode("<s>In", addSpecialTokens: false)
        #expect(bare == [1] + ids)
        let unprefixed = configured.encode("<s>In", addSpecialTokens: false)
        #expect(unprefixed != bare)
        #expect(configured.decode(unprefixed, skipSpecialTokens: true) == "In")
    }

    @Test func `T5's sentinels follow its vocabulary`() throws {
        let tokenizer = try tokenizer(
            "unigram_pieces.model", as: "spiece.model", configuration: ["extra_ids": 100])
        let first = try #require(tokenizer.id(of: "<extra_id_0>"))
        #expect(Int(first) == tokenizer.vocabularyCount - 1)
        #expect(tokenizer.id(of: "<extra_id_99>") == first - 99)
        #expect(tokenizer.isSpecial(first))
    }

    @Test func `tiktoken's ranks give its ids, and Llama 3's special tokens follow them`() throws {
        let tokenizer = try tokenizer("ranks.tiktoken")
        for row in try TokenizerCases.json("ranks.cases.json").elements("texts") {
            let text = try #require(row["text"]?.string)
            let ids = try #require(row["ids"]?.ids)
            #expect(
                tokenizer.encode(text, addSpecialTokens: false) == ids,
                "\(String(reflecting: text))")
            #expect(spelled(tokenizer.decode(ids)) == spelled(text))
        }
        #expect(tokenizer.vocabularyCount == 500 + 256)
        #expect(tokenizer.encode("a<|eot_id|>") == [500, 97, 509])
        #expect(tokenizer.beginningOfTextToken == "<|begin_of_text|>")
        #expect(tokenizer.endOfTextToken == "<|end_of_text|>")
        let named = try self.tokenizer(
            "ranks.tiktoken",
            configuration: [
                "bos_token": "<start>",
                "added_tokens_decoder": ["500": ["content": "<start>", "special": true]],
            ])
        #expect(named.encode("a") == [500, 97])
        #expect(named.vocabularyCount == 501)
    }

    private static let bertConfigurations: [(String, JSON)] = [
        ("uncased", [:]), ("cased", ["do_lower_case": false]),
        ("accents", ["strip_accents": false]),
    ]

    @Test(arguments: bertConfigurations)
    func `BERT's vocab.txt gives the ids of its tokenizer.json`(
        name: String, configuration: JSON
    ) throws {
        let tokenizer = try tokenizer(
            "bert_vocab.txt", as: "vocab.txt", configuration: configuration)
        let rows = try TokenizerCases.json("wordpiece.json").elements("rows")
        let row = try #require(rows.first { $0["name"]?.string == name })
        try check(tokenizer, row)
        #expect(tokenizer.beginningOfTextToken == "[CLS]")
    }

    @Test func `WordPiece in tokenizer.json does what the reference does`() throws {
        let words = try String(
            contentsOfFile: TokenizerCases.path("bert_vocab.txt"), encoding: .utf8
        ).split(separator: "\n")
        var vocabulary = JSON.Object()
        for (id, word) in words.enumerated() { vocabulary[String(word)] = .int(id) }
        for row in try TokenizerCases.json("wordpiece.json").elements("rows") {
            var document = try #require(row["tokenizer"])
            document["model"]?["vocab"] = .object(vocabulary)
            try check(Tokenizer(json: document, source: "wordpiece"), row)
        }
    }

    @Test func `Unigram in tokenizer.json does what the reference does`() throws {
        let file = try TokenizerCases.json("unigram.json")
        for row in try file.elements("rows") {
            var document = try #require(row["tokenizer"])
            document["model"]?["vocab"] = file["vocab"]
            try check(Tokenizer(json: document, source: "unigram"), row)
        }
    }

    private func check(_ tokenizer: Tokenizer, _ row: JSON) throws {
        for test in try row.elements("texts") {
            let text = try #require(test["text"]?.string)
            let ids = try #require(test["ids"]?.ids)
            let name = Comment(
                rawValue: "\(row["name"]?.string ?? ""): \(String(reflecting: text))")
            #expect(tokenizer.encode(text) == ids, name)
            #expect(tokenizer.encode(text, addSpecialTokens: false) == test["bare"]?.ids, name)
            #expect(spelled(tokenizer.decode(ids)) == spelled(test["decoded"]?.string), name)
            #expect(
                spelled(tokenizer.decode(ids, skipSpecialTokens: true))
                    == spelled(test["read"]?.string), name)
            // Streamed, it is the same.
            var decoder = tokenizer.streamingDecoder(skipSpecialTokens: false)
            let streamed = ids.map { decoder.append($0) }.joined() + decoder.finish()
            #expect(spelled(streamed) == spelled(test["decoded"]?.string), name)
        }
    }

    @Test(arguments: fixtures + [("ranks", "tokenizer.model"), ("bert_vocab", "vocab.txt")])
    func `a token's bytes, one after the other, are the text`(fixture: String, name: String) throws
    {
        let suffix = fixture == "ranks" ? "tiktoken" : fixture == "bert_vocab" ? "txt" : "model"
        let tokenizer = try tokenizer("\(fixture).\(suffix)", as: name)
        let text = "in the beginning god created the heaven and the earth"
        let ids = tokenizer.encode(text, addSpecialTokens: false)
        let bytes = ids.flatMap { tokenizer.textBytes(of: $0) }
        // A prefix that decoding a whole text drops.
        #expect(
            String(decoding: bytes, as: UTF8.self).trimmingCharacters(in: .whitespaces) == text)
        #expect(tokenizer.decode(ids) == text)
        #expect(tokenizer.textBytes(of: Int32.max).isEmpty)
    }

    @Test func `byte tokens stand for their byte`() throws {
        let tokenizer = try tokenizer("llama_pieces.model")
        let ids = tokenizer.encode("鱻", addSpecialTokens: false)
        #expect(ids.suffix(3).flatMap { tokenizer.textBytes(of: $0) } == Array("鱻".utf8))
        var decoder = tokenizer.streamingDecoder()
        let parts = ids.map { decoder.append($0) }
        #expect(parts.joined().isEmpty)
        #expect(decoder.finish() == "鱻")
    }

    @Test func `an answer in JSON can be written where bytes are tokens`() throws {
        let words = ConstraintWalks.words(try tokenizer("llama_pieces.model"))
        let automaton = ConstraintAutomaton(try .jsonObject(), words.vocabulary)
        var texts = 0
        for seed in UInt64(0)..<8 {
            guard
                let text = ConstraintWalks.random(automaton.makeConstraint(), words, seed: seed)
            else { continue }
            texts += 1
            #expect(try JSON(parsing: text, source: text).object != nil, "\(text)")
        }
        #expect(texts > 0)
    }

    @Test func `quantizing carries a vocabulary over, and the model answers with it`() throws {
        try Fixtures.withTemporaryFolder { folder in
            let (source, output) = (folder + "/source", folder + "/nf4")
            try FileManager.default.copyItem(
                atPath: modelResource("tiny/llama_plain_mha").path, toPath: source)
            try FileManager.default.copyItem(
                atPath: TokenizerCases.path("characters.model"),
                toPath: source + "/tokenizer.model")
            let compute = Compute(threads: 1)
            let checkpoint = try Checkpoints.open(source)
            try quantize(
                source: checkpoint, to: output, options: QuantizeOptions(), replace: false,
                compute: compute, tokenizerFiles: TokenizerFiles(checkpoint).files)
            #expect(
                try TokenizerFiles(path: output).vocabulary
                    == Data(contentsOf: URL(filePath: source + "/tokenizer.model")))
            let model = try LanguageModel(path: output, compute: compute)
            #expect(model.tokenizer.beginningOfTextToken == "<s>")
            var request = GenerationRequest(prompt: model.tokenizer.encode("In the"))
            request.maximumTokens = 8
            let answer = try TextGenerator(model, capacity: 64).generate(request)
            #expect(!answer.choices.isEmpty)
        }
    }

    @Test func `classes whose ids are not the file's are refused`() throws {
        let error = #expect(throws: LorikeetError.self) {
            try tokenizer(
                "unigram_pieces.model", as: "spiece.model",
                configuration: ["tokenizer_class": "XLMRobertaTokenizer"])
        }
        #expect(error?.code == .unsupported)
        #expect(error?.problem.hasPrefix("tokenizer_class:") == true)
    }
}

private let goldenFolder = Fixtures.existing("../shared/data/tokenizers")
private let goldenTexts = Fixtures.existing("../shared/data/text")

/// The team's vocabularies and llama.cpp's cases for them, where they are at hand.
@Suite(.enabled(if: goldenFolder != nil))
struct GoldenVocabularyTests {
    /// The tokenizer in a file of that folder.
    private func tokenizer(_ name: String) throws -> Tokenizer {
        let path = try #require(goldenFolder) + "/" + name
        if name.hasSuffix(".gguf") { return try TokenizerFiles(path: path).tokenizer() }
        return try Fixtures.withTemporaryFolder { folder in
            try FileManager.default.copyItem(
                atPath: path, toPath: folder + "/tokenizer.model")
            return try Tokenizer(folder: folder)
        }
    }

    @Test(arguments: [
        ("ggml-vocab-gpt-2.gguf", "gpt-2"), ("ggml-vocab-llama-spm.gguf", "llama-spm"),
        ("llama2-tokenizer.model", "llama-spm"), ("llama3-tokenizer.model", "llama-bpe"),
        ("ggml-vocab-bert-bge.gguf", "bert-bge"),
    ])
    func `47 texts encode as llama.cpp expects`(vocabulary: String, cases: String) throws {
        let tokenizer = try tokenizer(vocabulary)
        let base = try #require(goldenFolder) + "/ggml-vocab-\(cases).gguf"
        let texts = try String(contentsOfFile: base + ".inp", encoding: .utf8)
            .components(separatedBy: "\n__ggml_vocab_test__\n")
        let lines = try String(contentsOfFile: base + ".out", encoding: .utf8)
            .split(separator: "\n", omittingEmptySubsequences: false)
        #expect(texts.count == 47)
        for (text, line) in zip(texts, lines) {
            #expect(
                tokenizer.encode(text, addSpecialTokens: false)
                    == line.split(separator: " ").compactMap { Int32($0) },
                "\(String(reflecting: text))")
        }
    }

    @Test(.enabled(if: goldenTexts != nil))
    func `DeBERTaV3's pieces are SentencePiece's on whole texts and on their lines`() throws {
        let tokenizer = try tokenizer("deberta-v3-spm.model")
        let digests = try TokenizerCases.json("deberta_digests.json")
        for (name, expected) in try #require(digests.object) {
            let text = try text(name)
            #expect(digest(of: [text], tokenizer) == expected["whole"], "\(name)")
            let lines = text.split(separator: 0x0A, omittingEmptySubsequences: false)
            #expect(digest(of: lines.map(Array.init), tokenizer) == expected["lines"], "\(name)")
        }
    }

    /// A text of the team's, unpacked by the system's gzip.
    private func text(_ name: String) throws -> [UInt8] {
        let root = try #require(goldenTexts)
        let files = FileManager.default.enumerator(atPath: root)?.compactMap { $0 as? String }
        let file = try #require(files?.first { $0 == name || $0.hasSuffix("/" + name) })
        let path = root + "/" + file
        guard name.hasSuffix(".gz") else { return Array(try Data(contentsOf: URL(filePath: path))) }
        let process = Process()
        let output = Pipe()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = ["gzip", "-dc", path]
        process.standardOutput = output
        try process.run()
        let data = try output.fileHandleForReading.readToEnd()
        process.waitUntilExit()
        return Array(try #require(data))
    }

    /// The ids' number and FNV-1a hash, as record_deberta.py has them.
    private func digest(of texts: [[UInt8]], _ tokenizer: Tokenizer) -> JSON {
        var count = 0
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for text in texts {
            let ids = text.withUnsafeBytes { tokenizer.encode(bytes: $0, addSpecialTokens: false) }
            count += ids.count
            for id in ids {
                for shift in stride(from: 0, to: 32, by: 8) {
                    hash = (hash ^ UInt64(id >> Int32(shift) & 0xFF)) &* 0x100_0000_01B3
                }
            }
        }
        let digits = String(hash, radix: 16)
        return [
            "count": .int(count),
            "hash": .string(String(repeating: "0", count: 16 - digits.count) + digits),
        ]
    }
}
