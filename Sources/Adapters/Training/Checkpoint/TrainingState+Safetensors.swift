import LorikeetQuant
import LorikeetRuntime

extension TrainingState {
    /// A factor or a moment with its name in a file: PEFT's for factors, torch's for moments.
    private struct Entry {
        let tensor: TensorDescription
        let values: Buffer<Float>

        var isSquare: Bool { tensor.name.hasSuffix(".exp_avg_sq") }
    }

    private var entries: [Entry] {
        adapter.modules.flatMap { module in
            let moments = optimizer.moments[module.index]
            let factors = [
                ("lora_A", [adapter.rank, module.inputSize], module.delta.a, moments.a),
                ("lora_B", [module.outputSize, adapter.rank], module.delta.b, moments.b),
            ]
            return factors.flatMap { name, shape, factor, moments in
                [
                    ("weight", factor), ("exp_avg", moments.first), ("exp_avg_sq", moments.second),
                ].map { kind, values in
                    Entry(
                        tensor: TensorDescription(
                            name: "\(module.path).\(name).\(kind)", type: .f32, shape: shape),
                        values: values)
                }
            }
        }
    }

    /// What the moments are still to be multiplied by, of A and B of every layer.
    private var scales: TensorDescription {
        TensorDescription(name: "moment_scales", type: .f64, shape: [adapter.modules.count, 2])
    }

    /// Writes factors and moments as a safetensors file, bit for bit.
    func writeTensors(to path: String) throws {
        let entries = entries
        try SafetensorsWriter.write(to: path, entries.map(\.tensor) + [scales]) { file in
            for entry in entries { try file.write(entry.values, as: entry.tensor.name) }
            try file.write(optimizer.scales, as: scales.name)
        }
    }

    /// Takes factors and moments from the file at `path`, and `stepCount` steps as done.
    ///
    /// - Throws: `.malformed` for other tensors than this adapter's, or a number that is not finite; some
    ///   factors may have changed then.
    func readTensors(from path: String, stepCount: Int) throws {
        let entries = entries
        let file = try SafetensorsFile(path: path)
        let tensors = Dictionary(uniqueKeysWithValues: file.tensors.map { ($0.name, $0) })
        func find(_ expected: TensorDescription) throws -> Tensor {
            guard let tensor = tensors[expected.name], tensor.type == expected.type,
                tensor.shape == expected.shape
            else {
                let got = tensors[expected.name].map { "\($0.type.rawValue) \($0.shape)" }
                throw LorikeetError(
                    .malformed, path, "the tensor \(expected.name)",
                    expected: "\(expected.type.rawValue) \(expected.shape)", got: got ?? "none")
            }
            return tensor
        }
        func outOfRange(_ name: String) -> LorikeetError {
            LorikeetError(.malformed, path, "\(name) holds a number that is out of range")
        }

        let pending = try find(scales)
        guard tensors.count == entries.count + 1 else {
            throw LorikeetError(
                .malformed, path, "the number of tensors", expected: "\(entries.count + 1)",
                got: "\(tensors.count)")
        }
        for entry in entries {
            let tensor = try find(entry.tensor)
            try tensor.floats(into: entry.values.pointer, path: path)
            tensor.releasePages()
            // A second moment is a mean of squares, and AdamW takes its root.
            let least = entry.isSquare ? 0 : -Float.greatestFiniteMagnitude
            guard entry.values.elements.allSatisfy({ $0 >= least && $0.isFinite }) else {
                throw outOfRange(tensor.name)
            }
        }
        let factors = (0..<pending.count).map {
            pending.bytes.loadUnaligned(fromByteOffset: 8 * $0, as: Double.self)
        }
        guard factors.allSatisfy({ $0 > 0 && $0.isFinite }) else { throw outOfRange(pending.name) }
        optimizer.resume(stepCount: stepCount, scales: factors)
    }
}
