import Foundation
import LorikeetQuant
import LorikeetRuntime
import QuantKernels
import TestSupport
import Testing

/// Copies a tiny model's config.json into `folder` and fills the rest through `body`.
private func withFolder<Result>(
    _ body: (String) throws -> Result
) throws -> Result {
    try Fixtures.withTemporaryFolder { folder in
        try FileManager.default.copyItem(
            atPath: modelResource("tiny/llama_plain_mha/config.json").path,
            toPath: folder + "/config.json")
        return try body(folder)
    }
}

private func write(_ text: String, to path: String) throws {
    try Data(text.utf8).write(to: URL(filePath: path))
}

private let down = "model.layers.0.mlp.down_proj.weight"

@Suite struct `A Hugging Face folder` {
    @Test func `gives its tensors, mapped`() throws {
        let path = modelResource("tiny/llama_plain_mha").path
        let folder = try Checkpoints.open(path)
        #expect(folder.tensorNames.count == 21)
        #expect(try folder.shape(of: down) == [64, 160])
        let matrix = try folder.weights(down, rows: 64, columns: 160)
        #expect(try matrix.raw.data == folder.tensor(down).bytes.baseAddress)
        let golden = try GoldenFile(modelResource("tiny/llama_plain_mha/model.safetensors"))
        #expect(
            try folder.vector("model.norm.weight", count: 64).array
                == golden.floats("model.norm.weight"))
        #expect(
            try folder.file("config.json") == Data(contentsOf: URL(filePath: path + "/config.json"))
        )
        #expect(try folder.file("tokenizer.json") == nil)
    }

    @Test func `names what it was asked for in vain`() throws {
        let folder = try Checkpoints.open(modelResource("tiny/llama_plain_mha").path)
        let missing = try failure { _ = try folder.tensor("model.missing") }
        #expect(missing?.code == .notFound)
        #expect(missing?.problem.contains("model.missing") == true)
        let shape = try failure { _ = try folder.weights(down, rows: 160, columns: 64) }
        #expect(shape?.code == .mismatch)
        #expect(shape?.expected == "[160, 64]")
        #expect(shape?.got == "[64, 160]")
    }

    @Test func `in shards is read as in one file, whatever total_size says`() throws {
        try withFolder { folder in
            let tensors = try SafetensorsFile(
                path: modelResource("tiny/llama_plain_mha/model.safetensors").path
            ).tensors
            var map: [String] = []
            for (index, shard) in [tensors[..<9], tensors[9...]].enumerated() {
                let name = "model-0000\(index + 1)-of-00002.safetensors"
                try SafetensorsWriter.write(
                    to: folder + "/" + name,
                    shard.map { TensorDescription(name: $0.name, type: $0.type, shape: $0.shape) }
                ) { file in
                    for tensor in shard { try file.write(tensor.bytes, as: tensor.name) }
                }
                map += shard.map { "\"\($0.name)\": \"\(name)\"" }
            }
            try write(
                "{\"metadata\": {\"total_size\": -1}, \"weight_map\": {\(map.joined(separator: ","))}}",
                to: folder + "/model.safetensors.index.json")
            let sharded = try Checkpoints.open(folder)
            #expect(Set(sharded.tensorNames) == Set(tensors.map(\.name)))
            for tensor in tensors {
                #expect(try sharded.tensor(tensor.name).bytes.elementsEqual(tensor.bytes))
            }
        }
    }

    @Test(arguments: [
        ("{}", LorikeetError.Code.malformed, "weight_map"),
        ("{\"weight_map\": {\"w\": \"../x.safetensors\"}}", .malformed, "w names no file"),
        ("{\"weight_map\": {\"w\": \"/etc/x.safetensors\"}}", .malformed, "w names no file"),
        ("{\"weight_map\": {\"w\": \"x\\u0000.safetensors\"}}", .malformed, "w names no file"),
        ("{\"weight_map\": {\"w\": \"config.json\"}}", .malformed, "w names no file"),
        ("{\"weight_map\": {\"w\": 3}}", .malformed, "w names no file"),
        ("{\"weight_map\": {\"w\": \"missing.safetensors\"}}", .notFound, ""),
        ("{\"weight_map\": {\"w\": \"one.safetensors\"}}", .malformed, "no tensor w in one"),
        (
            "{\"weight_map\": {\"v\": \"one.safetensors\", \"v\": \"one.safetensors\"}}",
            .malformed, "v"
        ),
    ])
    func `with a lying index is refused`(
        index: String, code: LorikeetError.Code, problem: String
    ) throws {
        try withFolder { folder in
            try SafetensorsWriter.write(
                to: folder + "/one.safetensors",
                [TensorDescription(name: "v", type: .u8, shape: [1])]
            ) { try $0.write([UInt8(1)], as: "v") }
            try write(index, to: folder + "/model.safetensors.index.json")
            let error = try failure { _ = try Checkpoints.open(folder) }
            #expect(error?.code == code)
            #expect(problem.isEmpty || error?.problem.contains(problem) == true)
        }
    }

    @Test func `without configuration or weights is refused with advice`() throws {
        try Fixtures.withTemporaryFolder { folder in
            #expect(try failure { _ = try Checkpoints.open(folder + "/none") }?.code == .notFound)
            #expect(try failure { _ = try Checkpoints.open(folder) }?.code == .notFound)
            try write("{}", to: folder + "/adapter_config.json")
            let adapter = try failure { _ = try Checkpoints.open(folder) }
            #expect(adapter?.advice?.contains("--adapter") == true)
        }
        try withFolder { folder in
            let error = try failure { _ = try Checkpoints.open(folder) }
            #expect(error?.code == .notFound)
            #expect(error?.problem.contains("model.safetensors") == true)
        }
    }

    @Test(arguments: ["\"quant_method\": \"gptq\"", "\"load_in_8bit\": true"])
    func `quantized in another way is refused`(field: String) throws {
        try Fixtures.withTemporaryFolder { folder in
            try write("{\"quantization_config\": {\(field)}}", to: folder + "/config.json")
            #expect(try failure { _ = try Checkpoints.open(folder) }?.code == .unsupported)
        }
    }
}
