import Foundation
import LorikeetQuant
import LorikeetRuntime
import TestSupport
import Testing

@Suite struct `ggml's blocks` {
    // Random blocks (scales subnormal, negative zero, and from 1e-6 to 20) and what Python's
    // `gguf.quants.dequantize` makes of them.
    @Test(arguments: [
        "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL",
    ])
    func `are dequantized bit for bit as the reference does`(name: String) throws {
        let golden = try GoldenFile(modelResource("ggml_blocks.safetensors"))
        let blocks = golden.bytes("\(name)/blocks")
        let expected = golden.floats("\(name)/values")
        let type = try #require(TensorType(rawValue: name))
        let shape = [golden.shape("\(name)/blocks")[0], type.block.elements]
        let number = try #require(ggmlNumbers[name])
        var gguf = GGUFBuilder()
        gguf.pair("general.architecture", string: "llama")
        gguf.tensor("t", dimensions: shape.reversed(), type: number, data: blocks)
        try withFile("x.gguf", gguf.bytes) { path in
            let tensor = try #require(try GGUFFile(path: path).tensors.first)
            #expect(tensor.type == type)
            #expect(tensor.shape == shape)
            let values = Buffer<Float>(tensor.count)
            try tensor.floats(into: values.pointer, path: path)
            #expect(values.array.map(\.bitPattern) == expected.map(\.bitPattern))
        }
    }
}

private let ggmlNumbers: [String: UInt32] = [
    "Q4_0": 2, "Q4_1": 3, "Q5_0": 6, "Q5_1": 7, "Q8_0": 8, "Q2_K": 10, "Q3_K": 11, "Q4_K": 12,
    "Q5_K": 13, "Q6_K": 14, "IQ4_NL": 20,
]
