import Foundation
import LorikeetQuant
import LorikeetRuntime
import OrderedCollections
import TestSupport
import Testing

private let compute = Compute(threads: 2)

@Suite struct `A model exported as GGUF` {
    private func export(
        _ path: String, to output: String, type: TensorType = .f32
    ) throws -> GGUFCheckpoint {
        let source = try Checkpoints.open(path)
        try exportGGUF(
            source, from: source, to: output, type: type, replace: false, compute: compute)
        return try GGUFCheckpoint(path: output)
    }

    /// A copy of a tiny model with a tokenizer.
    private func tiny(_ name: String, in folder: String) throws -> String {
        let model = folder + "/" + name
        try FileManager.default.copyItem(
            atPath: modelResource("tiny/" + name).path, toPath: model)
        try ExportedModel.bytes.write(to: URL(filePath: model + "/tokenizer.json"))
        return model
    }

    @Test(arguments: ["llama_plain_mha", "llama_rope3_gqa_tied"])
    func `is the same model when it is read again`(name: String) throws {
        try Fixtures.withTemporaryFolder { folder in
            let model = try tiny(name, in: folder)
            let source = try Checkpoints.open(model)
            let gguf = try export(model, to: folder + "/x.gguf")
            #expect(try ModelConfiguration(gguf) == ModelConfiguration(source))
            #expect(Set(gguf.tensorNames) == Set(source.tensorNames))
            for name in source.tensorNames {
                #expect(try elements(name, of: gguf) == elements(name, of: source), "\(name)")
            }
            // llama.cpp's order: what it rotates together lies side by side.
            let q = "model.layers.0.self_attn.q_proj.weight"
            let stored = try gguf.tensor(q)
            let floats = Buffer<Float>(stored.count)
            try stored.floats(into: floats.pointer, path: "q")
            #expect(try floats.array != elements(q, of: source))
        }
    }

    @Test(arguments: [(TensorType.bf16, Float(0x1p-8)), (.f16, 0x1p-11)])
    func `in 16 bits has vectors in fp32 and matrices rounded`(
        type: TensorType, tolerance: Float
    ) throws {
        try Fixtures.withTemporaryFolder { folder in
            let model = try tiny("llama_plain_mha", in: folder)
            let source = try Checkpoints.open(model)
            let gguf = try export(model, to: folder + "/x.gguf", type: type)
            for name in source.tensorNames {
                let isMatrix = try source.shape(of: name).count == 2
                #expect(try gguf.tensor(name).type == (isMatrix ? type : .f32))
                // Half a unit in the last place: 8 or 11 significant bits. Below F16's normal numbers the
                // place is fixed, at 2⁻²⁴.
                for (rounded, value) in try zip(
                    elements(name, of: gguf), elements(name, of: source))
                {
                    #expect(
                        abs(rounded - value)
                            <= (isMatrix ? max(abs(value) * tolerance, 0x1p-24) : 0))
                }
            }
        }
    }

    @Test func `from a GGUF keeps that file's metadata`() throws {
        try Fixtures.withTemporaryFolder { folder in
            let path = modelResource("checkpoints/llama_rope3_1layer.gguf").path
            let source = try GGUFCheckpoint(path: path)
            let gguf = try export(path, to: folder + "/x.gguf")
            for (key, value) in source.gguf.metadata
            where key != "general.file_type" && key != "general.quantization_version" {
                #expect(gguf.gguf.metadata[key] == value, "\(key)")
            }
            #expect(gguf.gguf.metadata["general.file_type"] == 0)
            for name in source.tensorNames {
                #expect(try elements(name, of: gguf) == elements(name, of: source), "\(name)")
            }
        }
    }

    @Test func `from 4 bits is dequantized`() throws {
        try Fixtures.withTemporaryFolder { folder in
            let model = try tiny("llama_plain_mha", in: folder)
            try quantize(
                source: Checkpoints.open(model), to: folder + "/nf4", options: QuantizeOptions(),
                replace: false, compute: compute)
            let source = try Checkpoints.open(folder + "/nf4")
            let gguf = try export(folder + "/nf4", to: folder + "/x.gguf")
            for name in source.tensorNames {
                #expect(try elements(name, of: gguf) == elements(name, of: source), "\(name)")
            }
        }
    }

    @Test(arguments: [
        ("byte_level.tokenizer.json", "tokenizer.json", "gpt2"),
        ("metaspace.tokenizer.json", "tokenizer.json", "llama"),
        ("llama_pieces.model", "tokenizer.model", "llama"),
    ])
    func `has a vocabulary that gives the same tokens`(
        vocabulary: String, file: String, kind: String
    ) throws {
        try Fixtures.withTemporaryFolder { folder in
            let model = folder + "/model"
            let template = "{{ messages[0]['content'] }}"
            try ExportedModel.write(
                to: model, vocabulary: 1300,
                files: [
                    file: ExportedModel.vocabulary(vocabulary),
                    "chat_template.jinja": Data(template.utf8),
                ])
            let gguf = try export(model, to: folder + "/x.gguf")
            let metadata = gguf.gguf.metadata
            #expect(metadata["tokenizer.ggml.model"]?.string == kind)
            #expect(metadata["tokenizer.chat_template"]?.string == template)
            let tokens = try #require(metadata["tokenizer.ggml.tokens"]?.array)
            #expect(tokens.count == 1300 && tokens[1299] == "[PAD1299]")
            let (ours, theirs) = try (
                TokenizerFiles(gguf).tokenizer(), TokenizerFiles(path: model).tokenizer()
            )
            // None that begins with a space: a GGUF's prefix goes before any text, a Metaspace's not.
            for text in [
                "Hello, world!", "two  spaces\n\nand lines\t", "1234567 3.14", "naïve café, 世界",
                "I'm sure we'll see; it's 5'8\".", "def f(x):\n    return x ** 2",
            ] {
                #expect(ours.encode(text) == theirs.encode(text), "\(text)")
            }
        }
    }

    @Test(arguments: [
        ("unigram_pieces.model", "tokenizer.model", "unigram"),
        ("ranks.tiktoken", "tokenizer.model", "tiktoken"),
        ("bert_vocab.txt", "vocab.txt", "neither byte-level nor SentencePiece"),
    ])
    func `of another kind of vocabulary is refused by its name`(
        vocabulary: String, file: String, word: String
    ) throws {
        try Fixtures.withTemporaryFolder { folder in
            let model = folder + "/model"
            try ExportedModel.write(
                to: model, vocabulary: 2048,
                files: [file: ExportedModel.vocabulary(vocabulary)])
            let error = try failure { _ = try export(model, to: folder + "/x.gguf") }
            #expect(error?.code == .unsupported)
            #expect(error?.description.contains(word) == true, "\(String(describing: error))")
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == ["model"])
        }
    }

    @Test(
        arguments: [
            ("pre_tokenizer", ["type": "Whitespace"], "Whitespace"),
            (
                "pre_tokenizer",
                [
                    "type": "Sequence",
                    "pretokenizers": [
                        [
                            "type": "Split", "pattern": ["Regex": "a+"], "behavior": "Isolated",
                            "invert": false,
                        ], ["type": "ByteLevel", "add_prefix_space": false, "use_regex": false],
                    ],
                ], "a+"
            ), ("normalizer", ["type": "Lowercase"], "Lowercase"),
        ] as [(String, JSON, String)])
    func `whose words have no name is refused`(key: String, stage: JSON, word: String) throws {
        try Fixtures.withTemporaryFolder { folder in
            let model = folder + "/model"
            var tokenizer = try ExportedModel.bytes.withUnsafeBytes {
                try JSON(parsing: $0, source: "tokenizer.json")
            }
            tokenizer[key] = stage
            try ExportedModel.write(
                to: model, vocabulary: 256, files: ["tokenizer.json": tokenizer.data()])
            let error = try failure { _ = try export(model, to: folder + "/x.gguf") }
            #expect(error?.code == .unsupported)
            #expect(error?.description.contains(word) == true, "\(String(describing: error))")
        }
    }

    @Test func `with a tensor that has no place is refused by its name`() throws {
        try Fixtures.withTemporaryFolder { folder in
            let model = folder + "/model"
            try ExportedModel.write(
                to: model, vocabulary: 256, files: ["tokenizer.json": ExportedModel.bytes],
                extra: ["model.vision.weight"])
            let error = try failure { _ = try export(model, to: folder + "/x.gguf") }
            #expect(error?.code == .unsupported)
            #expect(error?.problem.contains("model.vision.weight") == true)
        }
    }

    @Test func `leaves out what a GGUF has not: frequencies, and an output that is the embedding`()
        throws
    {
        try Fixtures.withTemporaryFolder { folder in
            let model = folder + "/model"
            try ExportedModel.write(
                to: model, vocabulary: 256, files: ["tokenizer.json": ExportedModel.bytes],
                extra: ["lm_head.weight", "model.layers.0.self_attn.rotary_emb.inv_freq"])
            let gguf = try export(model, to: folder + "/x.gguf")
            #expect(gguf.tensorNames.count == 11)
            #expect(try ModelConfiguration(gguf).tiesEmbeddings)
        }
    }

    @Test func `has every tensor where llama.cpp expects it`() throws {
        try Fixtures.withTemporaryFolder { folder in
            let path = folder + "/x.gguf"
            let tensors = [3, 8, 1].enumerated().map {
                TensorDescription(name: "t\($0)", type: .f32, shape: [$1])
            }
            try GGUFWriter.write(
                to: path, metadata: ["a": .string("é"), "b": .float32s([1, 2])], tensors
            ) { file in
                for tensor in tensors.reversed() {
                    let values = noise(tensor.shape[0])
                    try withExtendedLifetime(values) {
                        try file.write(UnsafeRawBufferPointer(values.elements), as: tensor.name)
                    }
                }
            }
            let file = try GGUFFile(path: path)
            #expect(file.metadata == ["a": "é", "b": [1.0, 2.0]])
            let size = try Data(contentsOf: URL(filePath: path)).count
            #expect(size % 32 == 0)
            for tensor in file.tensors {
                let floats = Buffer<Float>(tensor.count)
                try tensor.floats(into: floats.pointer, path: path)
                #expect(floats.array == noise(tensor.count).array)
            }
        }
    }
}
