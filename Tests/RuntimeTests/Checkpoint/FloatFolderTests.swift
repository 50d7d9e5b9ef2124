import Foundation
import LorikeetQuant
import LorikeetRuntime
import TestSupport
import Testing

private let compute = Compute(threads: 2)

@Suite struct `A model exported as a folder` {
    private func quantized(in folder: String) throws -> HuggingFaceFolder {
        let output = folder + "/nf4"
        try quantize(
            source: Checkpoints.open(modelResource("tiny/llama_plain_mha").path), to: output,
            options: QuantizeOptions(skip: ["layers.1.mlp.up_proj"]), replace: false,
            compute: compute)
        return try HuggingFaceFolder(path: output)
    }

    @Test func `of floats holds what the 4-bit weights stand for, whatever the shards`() throws {
        try Fixtures.withTemporaryFolder { folder in
            let source = try quantized(in: folder)
            for (name, limit) in [("one", 5_000_000_000), ("many", 50_000)] {
                let output = folder + "/" + name
                let report = try exportFloatFolder(
                    source, to: output, type: .f32, replace: false, compute: compute,
                    shardLimit: limit)
                let written = try HuggingFaceFolder(path: output)
                #expect(!written.isQuantized)
                #expect(written.configuration["quantization_config"] == nil)
                #expect(written.configuration["dtype"] == "float32")
                #expect(try ModelConfiguration(written) == ModelConfiguration(source))
                #expect(Set(written.tensorNames) == Set(source.tensorNames))
                #expect(report.tensors == source.tensorNames.count)
                for name in source.tensorNames {
                    #expect(try elements(name, of: written) == elements(name, of: source))
                }
                let hasIndex = FileManager.default.fileExists(
                    atPath: output + "/model.safetensors.index.json")
                #expect(hasIndex == (name == "many"))
            }
        }
    }

    @Test func `in 4 bits copies what is not changed and quantizes the rest anew`() throws {
        try Fixtures.withTemporaryFolder { folder in
            let source = try quantized(in: folder)
            let changed = "model.layers.0.mlp.up_proj.weight"
            let output = folder + "/again"
            try exportQuantizedFolder(
                source, like: source, to: output, type: .f32,
                configuration: QuantizationConfiguration(doubleQuantization: false),
                replace: false, compute: compute, isChanged: { $0 == changed })
            let written = try HuggingFaceFolder(path: output)
            for name in source.tensorNames where name != changed {
                #expect(try written.quantization(of: name) == source.quantization(of: name))
                let (ours, theirs) = try (written.tensor(name), source.tensor(name))
                #expect(ours.bytes.elementsEqual(theirs.bytes), "\(name)")
                #expect(try elements(name, of: written) == elements(name, of: source))
            }
            #expect(try written.quantization(of: changed)?.doubleQuantization == false)
            // Its weights lie on the grid: in plain scales they are themselves again.
            #expect(try elements(changed, of: written) == elements(changed, of: source))
            #expect(
                try written.quantization(of: "model.layers.1.mlp.up_proj.weight") == nil)
        }
    }

    @Test func `of floats that a type cannot hold is refused`() throws {
        let floats = Buffer<Float>([1, 65_504, -70_000])
        let error = try failure {
            try floats.withBytes(as: .f16, of: "weights", on: compute) { _ in }
        }
        #expect(error?.code == .unsupported && error?.subject == "weights")
        try floats.withBytes(as: .bf16, of: "weights", on: compute) { #expect($0.count == 6) }
    }
}
