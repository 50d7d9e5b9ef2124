import LorikeetQuant
import LorikeetRuntime

extension TrainingState {
    /// The factors under PEFT's names, then what the optimizer remembers, then the best factors.
    private var tensors: [StateTensor] {
        adapter.namedParameters.flatMap { layer in
            layer.map {
                StateTensor(
                    "\($0.name).weight", shape: $0.parameter.shape,
                    .floats($0.parameter.values))
            }
        } + optimizer.state + (best?.state ?? [])
    }

    /// Writes parameters and the optimizer's state as a safetensors file, bit for bit.
    func writeTensors(to path: String) throws {
        let tensors = tensors
        try SafetensorsWriter.write(to: path, tensors.map(\.description)) { file in
            for tensor in tensors {
                switch tensor.elements {
                case .floats(let buffer): try file.write(buffer, as: tensor.name)
                case .doubles(let buffer): try file.write(buffer, as: tensor.name)
                }
            }
        }
    }

    /// Takes parameters and the optimizer's state from the file at `path`, and `stepCount` steps as done.
    ///
    /// - Throws: `.malformed` for other tensors than this run's, or a number out of its range; some
    ///   parameters may have changed then.
    func readTensors(from path: String, stepCount: Int) throws {
        let expected = tensors
        let file = try SafetensorsFile(path: path)
        let found = Dictionary(uniqueKeysWithValues: file.tensors.map { ($0.name, $0) })
        guard found.count == expected.count else {
            throw LorikeetError(
                .malformed, path, "the number of tensors", expected: "\(expected.count)",
                got: "\(found.count)")
        }
        for tensor in expected {
            guard let source = found[tensor.name], source.type == tensor.description.type,
                source.shape == tensor.shape
            else {
                let got = found[tensor.name].map { "\($0.type.rawValue) \($0.shape)" }
                throw LorikeetError(
                    .malformed, path, "the tensor \(tensor.name)",
                    expected: "\(tensor.description.type.rawValue) \(tensor.shape)",
                    got: got ?? "none")
            }
            tensor.copyElements(from: source.bytes)
            source.releasePages()
            guard tensor.isInRange else {
                throw LorikeetError(
                    .malformed, path, "\(tensor.name) holds a number that is out of range")
            }
        }
        optimizer.resume(stepCount: stepCount)
        adapter.publish()
    }
}

extension StateTensor {
    fileprivate var description: TensorDescription {
        let type: TensorType =
            switch elements {
            case .floats: .f32
            case .doubles: .f64
            }
        return TensorDescription(name: name, type: type, shape: shape)
    }

    fileprivate func copyElements(from bytes: UnsafeRawBufferPointer) {
        switch elements {
        case .floats(let buffer):
            UnsafeMutableRawBufferPointer(buffer.elements).copyMemory(from: bytes)
        case .doubles(let buffer):
            UnsafeMutableRawBufferPointer(buffer.elements).copyMemory(from: bytes)
        }
    }

    fileprivate var isInRange: Bool {
        switch elements {
        case .floats(let buffer): buffer.elements.allSatisfy { range.contains(Double($0)) }
        case .doubles(let buffer): buffer.elements.allSatisfy(range.contains)
        }
    }
}

extension StateTensor.Range {
    fileprivate func contains(_ value: Double) -> Bool {
        switch self {
        case .finite: value.isFinite
        case .nonnegative: value >= 0 && value.isFinite
        case .positive: value > 0 && value.isFinite
        }
    }
}
