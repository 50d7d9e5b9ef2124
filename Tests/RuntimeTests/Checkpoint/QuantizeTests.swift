import Foundation
import LorikeetQuant
import LorikeetRuntime
import TestSupport
import Testing

private let plain = modelResource("tiny/llama_plain_mha").path
private let compute = Compute(threads: 2)

private func tensors(_ path: String) throws -> [String: Tensor] {
    let files = try FileManager.default.contentsOfDirectory(atPath: path)
    var tensors: [String: Tensor] = [:]
    for file in files where file.hasSuffix(".safetensors") {
        for tensor in try SafetensorsFile(path: path + "/" + file).tensors {
            #expect(tensors.updateValue(tensor, forKey: tensor.name) == nil)
        }
    }
    return tensors
}

@Suite struct `Quantizing a checkpoint` {
    @Test(arguments: ["nf4_double_quantized", "fp4"])
    func `writes the bytes that transformers and bitsandbytes write`(name: String) throws {
        try Fixtures.withTemporaryFolder { folder in
            let output = folder + "/out"
            try quantize(
                source: Checkpoints.open(plain), to: output,
                options: QuantizeOptions(
                    configuration: QuantizationConfiguration(
                        format: name == "fp4" ? .fp4 : .nf4, doubleQuantization: name != "fp4")),
                replace: false, compute: compute)
            let written = try tensors(output)
            let reference = try SafetensorsFile(
                path: modelResource("checkpoints/\(name).safetensors").path
            ).tensors
            #expect(
                Set(written.keys.filter { $0.contains("layers.0") }) == Set(reference.map(\.name)))
            for tensor in reference {
                let ours = try #require(written[tensor.name])
                #expect(ours.type == tensor.type)
                #expect(ours.shape == tensor.shape)
                #expect(ours.bytes.elementsEqual(tensor.bytes), "\(tensor.name)")
            }
        }
    }

    @Test func `keeps the configuration and says how it was quantized`() throws {
        try Fixtures.withTemporaryFolder { folder in
            let output = folder + "/out"
            try quantize(
                source: Checkpoints.open(plain), to: output,
                options: QuantizeOptions(skip: ["down_proj"], dtype: .bf16), replace: false,
                compute: compute)
            let configuration = try JSON(contentsOf: output + "/config.json")
            let source = try JSON(contentsOf: plain + "/config.json")
            for key in try #require(source.object).keys where key != "dtype" {
                #expect(configuration[key] == source[key], "\(key)")
            }
            #expect(configuration["dtype"] == "bfloat16")
            let quantization = try #require(configuration["quantization_config"])
            #expect(quantization["quant_method"] == "bitsandbytes")
            #expect(quantization["bnb_4bit_quant_type"] == "nf4")
            #expect(quantization["bnb_4bit_use_double_quant"] == true)
            #expect(
                quantization["llm_int8_skip_modules"] == [
                    "model.layers.0.mlp.down_proj", "model.layers.1.mlp.down_proj", "lm_head",
                ])
            #expect(
                try Data(contentsOf: URL(filePath: output + "/generation_config.json"))
                    == Data(contentsOf: URL(filePath: plain + "/generation_config.json")))
            let written = try tensors(output)
            #expect(written["model.layers.0.mlp.down_proj.weight"]?.type == .bf16)
            #expect(written["model.embed_tokens.weight"]?.type == .bf16)
            #expect(written["model.layers.0.mlp.up_proj.weight"]?.type == .u8)
        }
    }

    @Test func `in shards gives the same tensors and an index that is read back`() throws {
        try Fixtures.withTemporaryFolder { folder in
            let source = try Checkpoints.open(plain)
            var seen: [Int] = []
            let whole = try quantize(
                source: source, to: folder + "/whole", options: QuantizeOptions(), replace: false,
                compute: compute)
            let sharded = try quantize(
                source: source, to: folder + "/shards", options: QuantizeOptions(), replace: false,
                compute: compute, shardLimit: 60_000
            ) { seen.append($0.tensors) }
            #expect(seen == Array(1...21))
            #expect(sharded.bitsPerParameter == whole.bitsPerParameter)
            let files = try FileManager.default.contentsOfDirectory(atPath: folder + "/shards")
            #expect(files.contains("model-00002-of-00004.safetensors"))
            #expect(!files.contains("model.safetensors"))
            let (a, b) = (try tensors(folder + "/whole"), try tensors(folder + "/shards"))
            #expect(Set(a.keys) == Set(b.keys))
            for (name, tensor) in a {
                #expect(b[name]?.bytes.elementsEqual(tensor.bytes) == true, "\(name)")
            }
            let read = try Checkpoints.open(folder + "/shards")
            #expect(Set(read.tensorNames) == Set(source.tensorNames))
        }
    }

    @Test func `reports what it did`() throws {
        try Fixtures.withTemporaryFolder { folder in
            let output = folder + "/out"
            let report = try quantize(
                source: Checkpoints.open(plain), to: output,
                options: QuantizeOptions(
                    configuration: QuantizationConfiguration(doubleQuantization: false)),
                replace: false, compute: compute)
            // 2 blocks of 4 × 64 × 64 + 3 × 160 × 64 quantized; two 256 × 64 and 5 norms of 64 not.
            #expect(report.quantizedParameters == 94_208)
            #expect(report.parameters == 94_208 + 32_768 + 320)
            let bytes = try tensors(output).values.reduce(0) { $0 + $1.bytes.count }
            #expect(report.bitsPerParameter == 8 * Double(bytes) / Double(report.parameters))
            #expect(report.inputBytes == 511_328)
            let size = try FileManager.default.attributesOfItem(
                atPath: output + "/model.safetensors")
            #expect(report.outputBytes == size[.size] as? Int)
        }
    }

    @Test func `of a GGUF takes bf16 and the tokenizer's files`() throws {
        try Fixtures.withTemporaryFolder { folder in
            let output = folder + "/out"
            let source = try Checkpoints.open(
                modelResource("checkpoints/llama_rope3_1layer.gguf").path)
            try quantize(
                source: source, to: output, options: QuantizeOptions(), replace: false,
                compute: compute, tokenizerFiles: ["tokenizer.json": Data("{}".utf8)])
            let read = try Checkpoints.open(output)
            #expect(try read.file("tokenizer.json") == Data("{}".utf8))
            #expect(try read.tensor("model.embed_tokens.weight").type == .bf16)
            #expect(
                try ModelConfiguration(read.configuration, source: "out")
                    == ModelConfiguration(source.configuration, source: "gguf"))
            let generation = try #require(try read.file("generation_config.json"))
            #expect(String(decoding: generation, as: UTF8.self).contains("\"eos_token_id\": 2"))
        }
    }

    @Test func `that is quantized already is refused`() throws {
        try Fixtures.withTemporaryFolder { folder in
            try quantize(
                source: Checkpoints.open(plain), to: folder + "/once", options: QuantizeOptions(),
                replace: false, compute: compute)
            let error = try failure {
                try quantize(
                    source: Checkpoints.open(folder + "/once"), to: folder + "/twice",
                    options: QuantizeOptions(), replace: false, compute: compute)
            }
            #expect(error?.code == .unsupported)
            #expect(!FileManager.default.fileExists(atPath: folder + "/twice"))
        }
    }

    @Test(arguments: [true, false])
    func `with NaN in a weight is refused and leaves nothing`(doubleQuantization: Bool) throws {
        try Fixtures.withTemporaryFolder { folder in
            let source = folder + "/source"
            try FileManager.default.createDirectory(
                atPath: source, withIntermediateDirectories: false)
            try Data("{\"model_type\": \"llama\"}".utf8).write(
                to: URL(filePath: source + "/config.json"))
            var weights = [Float](repeating: 1, count: 256)
            weights[200] = .nan
            try SafetensorsWriter.write(
                to: source + "/model.safetensors",
                [TensorDescription(name: "model.w.weight", type: .f32, shape: [2, 128])]
            ) { try $0.write(weights, as: "model.w.weight") }
            let error = try failure {
                try quantize(
                    source: Checkpoints.open(source), to: folder + "/out",
                    options: QuantizeOptions(
                        configuration: QuantizationConfiguration(
                            doubleQuantization: doubleQuantization)),
                    replace: false, compute: compute)
            }
            #expect(error?.code == .malformed)
            #expect(error?.problem.contains("model.w.weight") == true)
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == ["source"])
        }
    }

    @Test func `to an output that exists needs to be forced`() throws {
        try Fixtures.withTemporaryFolder { folder in
            let output = folder + "/out"
            let source = try Checkpoints.open(plain)
            for replace in [false, true] {
                try quantize(
                    source: source, to: output, options: QuantizeOptions(), replace: replace,
                    compute: compute)
            }
            let error = try failure {
                try quantize(
                    source: source, to: output, options: QuantizeOptions(), replace: false,
                    compute: compute)
            }
            #expect(error?.code == .exists)
        }
    }

    @Test func `with everything skipped is refused`() throws {
        try Fixtures.withTemporaryFolder { folder in
            let error = try failure {
                try quantize(
                    source: Checkpoints.open(plain), to: folder + "/out",
                    options: QuantizeOptions(skip: ["model"]), replace: false, compute: compute)
            }
            #expect(error?.code == .invalidArgument)
        }
    }
}
