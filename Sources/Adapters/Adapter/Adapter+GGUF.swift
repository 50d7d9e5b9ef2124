public import LorikeetQuant
public import LorikeetRuntime
import OrderedCollections

extension Adapter {
    /// Writes the adapter as a GGUF file that llama.cpp loads over a GGUF of the same base.
    ///
    /// The file is what llama.cpp's convert_lora_to_gguf.py writes: `blk.N.attn_q.weight.lora_a` [rank, in] and
    /// `….lora_b` [out, rank], the rows of B in the order of the weight's rows there. llama.cpp multiplies every
    /// term by `adapter.lora.alpha` over its own rank; where that is not a module's scale (rank patterns,
    /// rsLoRA), B makes up for it.
    ///
    /// - Parameters:
    ///   - path: the file; it appears when it is complete.
    ///   - base: the model that the adapter belongs to.
    ///   - type: of the factors, F32, F16 or BF16.
    ///   - replace: whether an existing file is replaced.
    ///   - compute: what to run on.
    /// - Throws: `.unsupported` for a DoRA adapter, one that brings tensors whole, or a base that is not written as GGUF; `.exists`, `.io`.
    public func writeGGUF(
        to path: String, over base: any Checkpoint, type: TensorType = .f32, replace: Bool = false,
        on compute: Compute
    ) throws {
        try AtomicOutput.requireAbsent(path, unless: replace)
        guard !configuration.usesDoRA else {
            throw LorikeetError(
                .unsupported, name,
                "a DoRA adapter has no place in a GGUF: llama.cpp has no magnitudes",
                advice: "Export the model with the adapter merged into it: --format gguf --adapter."
            )
        }
        guard tensors.isEmpty else {
            throw LorikeetError(
                .unsupported, name,
                "tensors that are saved whole (modules_to_save) have no place in a GGUF adapter",
                got: tensors.keys.sorted().joined(separator: ", "),
                advice: "Export the model with the adapter merged into it: --format gguf --adapter."
            )
        }
        let architecture = try GGUFModelLayout(base)
        let paths = deltas.keys.sorted()
        let alpha = paths.first.flatMap { deltas[$0] }.map(Self.alpha) ?? 1
        var tensors: [TensorDescription] = []
        var values: [(name: String, floats: Buffer<Float>)] = []
        for path in paths {
            guard let delta = deltas[path] else { continue }
            guard let name = architecture.tensorName(of: "\(path).weight") else {
                throw LorikeetError(
                    .unsupported, self.name, "\(path) has no place in a GGUF file",
                    expected: "a layer of the \(architecture.name) architecture")
            }
            let (inputs, outputs) = (delta.a.count / delta.rank, delta.b.count / delta.rank)
            let b = architecture.reordered(
                Self.scaled(delta.b, by: Self.alpha(delta) / alpha), of: "\(path).weight",
                columns: delta.rank)
            for (suffix, shape, floats) in [
                ("lora_a", [delta.rank, inputs], delta.a), ("lora_b", [outputs, delta.rank], b),
            ] {
                tensors.append(
                    TensorDescription(name: "\(name).\(suffix)", type: type, shape: shape))
                values.append(("\(path), \(suffix)", floats))
            }
        }
        try GGUFWriter.write(
            to: path,
            metadata: [
                "general.architecture": .string(architecture.name),
                "general.type": .string("adapter"), "general.name": .string(name),
                "general.file_type": GGUFModelLayout.fileType(type),
                "adapter.type": .string("lora"), "adapter.lora.alpha": .float32(Float(alpha)),
            ], tensors
        ) { file in
            for (tensor, value) in zip(tensors, values) {
                try value.floats.withBytes(as: type, of: value.name, on: compute) {
                    try file.write($0, as: tensor.name)
                }
            }
        }
    }

    /// The alpha that over the term's rank is its scale.
    private static func alpha(_ delta: LowRankDelta) -> Double {
        Double(delta.scale) * Double(delta.rank)
    }

    /// `values` times `factor`, untouched where it is 1 but for the rounding of fp32 scales.
    private static func scaled(_ values: Buffer<Float>, by factor: Double) -> Buffer<Float> {
        abs(factor - 1) < 1e-6 ? values : Buffer(values.elements.map { $0 * Float(factor) })
    }
}
