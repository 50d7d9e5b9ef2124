import Foundation
import LorikeetQuant
import LorikeetRuntime
import TestSupport
import Testing

@Suite struct `Inspecting` {
    @Test func `a folder counts its weights`() throws {
        let inspection = try inspect(modelResource("tiny/llama_plain_mha").path)
        #expect(inspection.architecture == "LlamaForCausalLM")
        #expect(inspection.entries.count == 21)
        #expect(inspection.parameters == 127_296)
        #expect(inspection.bitsPerParameter == 32)
        #expect(inspection.fileBytes == 511_328)
        #expect(inspection.json["types"]?["F32"]?["parameters"] == 127_296)
    }

    @Test func `a 4-bit weight counts its scales and tables`() throws {
        let path = modelResource("checkpoints/nf4_double_quantized.safetensors").path
        let inspection = try inspect(path)
        let down = try #require(inspection.entries.first { $0.name.hasSuffix("down_proj.weight") })
        #expect(down.type == "NF4+DQ")
        #expect(down.shape == [64, 160])
        let parts = try SafetensorsFile(path: path).tensors.filter { $0.name.hasPrefix(down.name) }
        #expect(parts.count == 6)
        #expect(down.bytes == parts.reduce(0) { $0 + $1.bytes.count })
        #expect(inspection.entries.count == 9)
    }

    @Test func `a GGUF names its types`() throws {
        let inspection = try inspect(modelResource("checkpoints/llama_rope3_1layer.gguf").path)
        #expect(inspection.architecture == "llama")
        let types = try #require(inspection.json["types"]?.object)
        #expect(Set(types.keys) == ["F32", "F16", "BF16", "Q8_0"])
        #expect(inspection.description.contains("blk.0.attn_q.weight"))
    }

    @Test func `something else says what can be inspected`() throws {
        let error = try withFile("x.txt", [0]) { path in try failure { _ = try inspect(path) } }
        #expect(error?.code == .unsupported)
        #expect(try failure { _ = try inspect("/nonexistent") }?.code == .notFound)
    }
}
