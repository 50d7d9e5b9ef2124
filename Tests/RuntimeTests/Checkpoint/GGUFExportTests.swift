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

    /// A copy of a tiny model with a tokenizer, and with other settings.
    private func tiny(
        _ name: String, in folder: String, settings: [String: JSON] = [:]
    ) throws -> String {
        let model = folder + "/" + name
        try FileManager.default.copyItem(
            atPath: modelResource("tiny/" + name).path, toPath: model)
        var configuration = try JSON(contentsOf: model + "/config.json")
        for (key, value) in settings { configuration[key] = value }
        try configuration.data().write(to: URL(filePath: model + "/config.json"))
        try ExportedModel.bytes(below: 96).write(to: URL(filePath: model + "/tokenizer.json"))
        return model
    }

    /// What llama.cpp fills in of models that the tiny ones are not.
    private static let implied: [(name: String, settings: [String: JSON])] = [
        ("mistral_sw8", [:]), ("qwen2_bias_tied", [:]), ("gemma2", ["query_pre_attn_scalar": 24]),
        (
            "gemma3",
            [
                "query_pre_attn_scalar": 16,
                "layer_types": ["sliding_attention", "sliding_attention"],
            ]
        ),
        (
            // Numbers that fp32 holds, as a file has them.
            "phi3_longrope",
            [
                "rope_parameters": [
                    "rope_type": "longrope", "rope_theta": 10000, "partial_rotary_factor": 0.75,
                    "original_max_position_embeddings": 320, "attention_factor": 1.25,
                    "short_factor": [1, 1.25, 1.5, 2, 2.5, 3],
                    "long_factor": [1, 1.5, 3, 8, 20, 30],
                ]
            ]
        ),
    ]

    @Test(arguments: implied)
    func `of another architecture is the same model when it is read again`(
        name: String, settings: [String: JSON]
    ) throws {
        try Fixtures.withTemporaryFolder { folder in
            let source = try Checkpoints.open(tiny(name, in: folder, settings: settings))
            let gguf = try export(source.path, to: folder + "/x.gguf")
            var expected = try ModelConfiguration(source)
            if name == "mistral_sw8" {
                // Llama's files tell no window: texts end with it, within which all attention is local.
                expected.maximumPositions = 8
                (expected.slidingWindow, expected.localLayers) = (nil, [])
            }
            #expect(try ModelConfiguration(gguf) == expected)
            #expect(Set(gguf.tensorNames) == Set(source.tensorNames))
            for name in source.tensorNames {
                for (got, value) in try zip(elements(name, of: gguf), elements(name, of: source)) {
                    // Gemma's norms are stored with 1 added, and so rounded to a unit of numbers below 4.
                    #expect(abs(got - value) <= (name.hasSuffix("norm.weight") ? 0x1p-22 : 0))
                }
            }
        }
    }

    @Test(
        arguments: [
            ("qwen3_window", [:], "layer_types"), ("gemma2", [:], "query_pre_attn_scalar"),
            ("gemma3", ["query_pre_attn_scalar": 16], "layer_types"),
            (
                "gemma2", ["query_pre_attn_scalar": 24, "final_logit_softcapping": nil],
                "final_logit_softcapping"
            ),
            (
                "qwen3_window", ["layer_types": ["full_attention", "full_attention"]],
                "self_attn.k_proj.bias"
            ),
        ] as [(String, [String: JSON], String)])
    func `of a model that llama.cpp would take for another is refused`(
        name: String, settings: [String: JSON], word: String
    ) throws {
        try Fixtures.withTemporaryFolder { folder in
            let model = try tiny(name, in: folder, settings: settings)
            let error = try failure { _ = try export(model, to: folder + "/x.gguf") }
            #expect(error?.code == .unsupported)
            #expect(error?.description.contains(word) == true, "\(String(describing: error))")
            #expect(!FileManager.default.fileExists(atPath: folder + "/x.gguf"))
        }
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
