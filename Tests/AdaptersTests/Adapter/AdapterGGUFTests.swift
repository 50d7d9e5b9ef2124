import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime
import OrderedCollections
import TestSupport
import Testing

struct AdapterGGUFTests {
    private let small = SmallMerge()

    /// llama.cpp's name of a module's weight.
    private static let names: [LinearModule: String] = [
        .query: "attn_q", .key: "attn_k", .value: "attn_v", .output: "attn_output",
        .gate: "ffn_gate", .up: "ffn_up", .down: "ffn_down",
    ]

    @Test(arguments: [false, true])
    func `what llama.cpp adds up is the adapter's term`(usesRSLoRA: Bool) throws {
        let folder = try TemporaryFolder()
        let base = try small.base()
        let model = try ModelConfiguration(base)
        let adapter = try small.adapter(size: 0.1, usesRSLoRA: usesRSLoRA)
        try adapter.writeGGUF(to: folder["x.gguf"], over: base, on: small.compute)
        let file = try GGUFFile(path: folder["x.gguf"])
        #expect(file.metadata["general.type"] == "adapter")
        #expect(file.metadata["adapter.type"] == "lora")
        #expect(file.metadata["general.architecture"] == "llama")
        let alpha = try #require(file.metadata["adapter.lora.alpha"]?.double)
        #expect(abs(alpha - (usesRSLoRA ? 16 : 8)) < 1e-5)
        #expect(file.tensors.count == 28)
        for (path, delta) in adapter.deltas {
            let name = "blk.\(path.layer).\(try #require(Self.names[path.module])).weight"
            func floats(_ suffix: String) throws -> (Tensor, [Float]) {
                let tensor = try #require(file.tensors.first { $0.name == name + suffix })
                let values = Buffer<Float>(tensor.count)
                try tensor.floats(into: values.pointer, path: "x")
                return (tensor, values.array)
            }
            let (tensorA, a) = try floats(".lora_a")
            let (tensorB, b) = try floats(".lora_b")
            let (outputs, inputs) = path.module.shape(in: model)
            let r = delta.rank
            #expect(tensorA.shape == [r, inputs] && tensorB.shape == [outputs, r])
            #expect(a == delta.a.array)
            let D = model.headSize
            for row in 0..<outputs {
                // The converter's: reshape(heads, 2, D/2).swapaxes(1, 2).
                let isRotated = path.module == .query || path.module == .key
                let source =
                    isRotated ? row / D * D + row % 2 * (D / 2) + row % D / 2 : row
                for k in 0..<r {
                    let (theirs, ours) = (
                        Double(b[row * r + k]) * alpha / Double(r),
                        Double(delta.b[source * r + k]) * Double(delta.scale)
                    )
                    // Two roundings to fp32.
                    #expect(abs(theirs - ours) <= 2 * abs(ours) * 0x1p-23)
                }
            }
        }
    }

    @Test func `factors in 16 bits are as many`() throws {
        let folder = try TemporaryFolder()
        try small.adapter(size: 0.1).writeGGUF(
            to: folder["x.gguf"], over: small.base(), type: .f16, on: small.compute)
        let file = try GGUFFile(path: folder["x.gguf"])
        #expect(file.tensors.allSatisfy { $0.type == .f16 })
        #expect(file.metadata["general.file_type"] == 1)
    }

    @Test func `a DoRA adapter and an output that exists are refused`() throws {
        let folder = try TemporaryFolder()
        let dora = try small.adapter(size: 0.1, isDoRA: true)
        let error = try failure {
            try dora.writeGGUF(to: folder["x.gguf"], over: small.base(), on: small.compute)
        }
        #expect(error.code == .unsupported && error.problem.contains("DoRA"))
        #expect(folder.names.isEmpty)
        try write([1], to: folder["x.gguf"])
        let adapter = try small.adapter(size: 0.1)
        #expect(
            try failure {
                try adapter.writeGGUF(to: folder["x.gguf"], over: small.base(), on: small.compute)
            }.code == .exists)
    }

    @Test func `a bundle becomes the folder that it was packed from`() throws {
        let folder = try TemporaryFolder()
        let source = try resource("plain")
        try AdapterBundle.pack(source, to: folder["a.lorikeet"])
        try Adapters.writePeftFolder(of: folder["a.lorikeet"], to: folder["peft"])
        for name in ["adapter_config.json", "adapter_model.safetensors"] {
            #expect(try contents(folder["peft/" + name]) == contents(source + "/" + name))
        }
        #expect(
            try failure { try Adapters.writePeftFolder(of: source, to: folder["peft"]) }.code
                == .exists)
        try Adapters.writePeftFolder(of: source, to: folder["peft"], type: .bf16, replace: true)
        let file = try SafetensorsFile(path: folder["peft/adapter_model.safetensors"])
        #expect(file.tensors.allSatisfy { $0.type == .bf16 })
    }
}
