import Foundation
import LorikeetQuant
import LorikeetRuntime
import QuantKernels
import TestSupport
import Testing

private let down = "model.layers.0.mlp.down_proj.weight"
private let state = down + ".quant_state.bitsandbytes__nf4"

/// The first layer of the tiny model as transformers and bitsandbytes save it.
private func reference(_ name: String) -> String {
    modelResource("checkpoints/\(name).safetensors").path
}

/// A folder with the tensors of the reference file after `change`.
private func open<Result>(
    _ name: String = "nf4_double_quantized",
    changing change: (inout [String: (TensorDescription, [UInt8])]) -> Void = { _ in },
    _ body: (any Checkpoint) throws -> Result
) throws -> Result {
    try Fixtures.withTemporaryFolder { folder in
        var tensors: [String: (TensorDescription, [UInt8])] = [:]
        for tensor in try SafetensorsFile(path: reference(name)).tensors {
            tensors[tensor.name] = (
                TensorDescription(name: tensor.name, type: tensor.type, shape: tensor.shape),
                Array(tensor.bytes)
            )
        }
        change(&tensors)
        try SafetensorsWriter.write(
            to: folder + "/model.safetensors", tensors.values.map(\.0)
        ) { file in
            for (tensor, bytes) in tensors.values { try file.write(bytes, as: tensor.name) }
        }
        try FileManager.default.copyItem(
            atPath: modelResource("tiny/llama_plain_mha/config.json").path,
            toPath: folder + "/config.json")
        return try body(try Checkpoints.open(folder))
    }
}

@Suite struct `A bitsandbytes folder` {
    @Test(arguments: ["nf4_double_quantized", "fp4"])
    func `gives the weights that were quantized, by their own names`(name: String) throws {
        let compute = Compute(threads: 1)
        let source = try Checkpoints.open(modelResource("tiny/llama_plain_mha").path)
        try open(name) { folder in
            #expect(folder.tensorNames.count == 9)
            #expect(folder.tensorNames.allSatisfy { $0.hasSuffix(".weight") })
            #expect(try folder.shape(of: down) == [64, 160])
            let matrix = try folder.weights(down, rows: 64, columns: 160)
            #expect(matrix.isQuantized)
            let packed = try folder.tensor(down)
            #expect(matrix.raw.data == packed.bytes.baseAddress)

            // bitsandbytes' own quantization, repeated here, dequantizes to the same bits.
            let weights = Buffer<Float>(64 * 160)
            try source.floats(down, into: weights.pointer)
            let again = QuantizedTensor(
                quantizing: UnsafeBufferPointer(weights.elements), shape: [64, 160],
                configuration: QuantizationConfiguration(
                    format: name == "fp4" ? .fp4 : .nf4, doubleQuantization: name != "fp4"),
                on: compute)
            let expected = again.dequantizedFloat32(on: compute).array
            #expect(matrix.dequantizedFloat32(on: compute).array == expected)
            let floats = Buffer<Float>(64 * 160)
            try folder.floats(down, into: floats.pointer)
            #expect(floats.array == expected)
        }
    }

    @Test(arguments: [".absmax", ".quant_map", ".nested_absmax", ".nested_quant_map"])
    func `without a part of a weight names it`(suffix: String) throws {
        try open {
            $0[down + suffix] = nil
        } _: { folder in
            let error = try failure { _ = try folder.weights(down, rows: 64, columns: 160) }
            #expect(error?.code == .malformed)
            #expect(error?.problem.contains(down + suffix) == true)
        }
    }

    @Test(arguments: ["", ".absmax", ".quant_map", ".nested_absmax", ".nested_quant_map"])
    func `with a part of another size is refused`(suffix: String) throws {
        let name = down + suffix
        try open { tensors in
            guard let (tensor, bytes) = tensors[name] else { return }
            let shorter = bytes.dropLast(tensor.type.block.bytes)
            tensors[name] = (
                TensorDescription(
                    name: name, type: tensor.type, shape: [shorter.count / tensor.type.block.bytes]),
                Array(shorter)
            )
        } _: { folder in
            let error = try failure { _ = try folder.weights(down, rows: 64, columns: 160) }
            #expect(error?.code == .malformed)
            #expect(error?.problem.contains(name) == true)
        }
    }

    @Test(arguments: [
        ("\"blocksize\": 64", "\"blocksize\": 0"), ("\"blocksize\": 64", "\"blocksize\": 63"),
        ("\"blocksize\": 64", "\"blocksize\": -64"), ("\"blocksize\": 64", "\"blocksize\": 1e300"),
        ("\"quant_type\": \"nf4\"", "\"quant_type\": \"fp4\""),
        ("[64, 160]", "[-64, -160]"), ("[64, 160]", "[4611686018427387904, 4]"),
        ("[64, 160]", "[9223372036854775807]"), ("[64, 160]", "[64.5]"), ("[64, 160]", "3"),
        ("[64, 160]", "[128, 160]"),
        ("\"nested_blocksize\": 256", "\"nested_blocksize\": 1"),
        ("\"nested_dtype\": \"float32\"", "\"nested_dtype\": \"float16\""),
        ("\"nested_offset\"", "\"nested\""), ("\"dtype\": \"float32\"", "\"dtype\": 3"), ("}", ""),
    ])
    func `with a lying quant state is refused`(field: String, lie: String) throws {
        try open { tensors in
            guard let (_, bytes) = tensors[state] else { return }
            let text = String(decoding: bytes, as: UTF8.self)
            let lying = Array(text.replacingOccurrences(of: field, with: lie).utf8)
            tensors[state] = (
                TensorDescription(name: state, type: .u8, shape: [lying.count]), lying
            )
        } _: { folder in
            let error = try failure { _ = try folder.weights(down, rows: 64, columns: 160) }
            #expect(error?.code == .malformed)
        }
    }

    @Test func `with a code book of its own is refused`() throws {
        try open { tensors in
            tensors[down + ".quant_map"]?.1[3] ^= 1
        } _: { folder in
            let error = try failure { _ = try folder.weights(down, rows: 64, columns: 160) }
            #expect(error?.code == .unsupported)
        }
    }
}
