import LorikeetQuant
import QuantKernels

extension Tensor {
    /// Writes all elements as fp32.
    ///
    /// - Parameters:
    ///   - output: `count` elements.
    ///   - path: the file, for the error.
    /// - Throws: `.unsupported` for a type that holds no floats.
    public func floats(into output: UnsafeMutablePointer<Float>, path: String) throws {
        guard let source = bytes.baseAddress, count > 0 else { return }
        switch type {
        case .f32:
            UnsafeMutableRawPointer(output).copyMemory(from: source, byteCount: bytes.count)
        case .f16, .bf16:
            let kernels = InstructionSet.current.kernels
            let convert = type == .f16 ? kernels.f32_from_f16 : kernels.f32_from_bf16
            withAlignedHalves(source) { convert?($0, count, output) }
        case .f64:
            for i in 0..<count {
                output[i] = Float(source.loadUnaligned(fromByteOffset: i * 8, as: Double.self))
            }
        case _ where type.isGGMLBlock:
            type.dequantize(source, count: count / type.block.elements, into: output)
        default:
            throw LorikeetError(
                .unsupported, path, "the tensor \(name) holds no floats that can be read",
                expected: "F32, F16 or BF16", got: type.rawValue)
        }
    }

    /// The tensor as a matrix: in place when its floats are aligned as the kernels read them, else as
    /// fp32 in memory of its own.
    func weightMatrix(rows: Int, columns: Int, path: String) throws -> WeightMatrix {
        if let kernelType, isAligned, let data = bytes.baseAddress {
            return WeightMatrix(
                floats: data, type: kernelType, rows: rows, columns: columns, owner: owner)
        }
        let buffer = Buffer<Float>(count)
        try floats(into: buffer.pointer, path: path)
        return WeightMatrix(floats: buffer, rows: rows, columns: columns)
    }

    /// How `weightMatrix` holds it.
    ///
    /// - Throws: `.mismatch` for a tensor that is no matrix.
    func layout(path: String) throws -> WeightLayout {
        guard shape.count == 2 else {
            throw LorikeetError(
                .mismatch, path, "the tensor \(name) is no matrix", got: "\(shape)")
        }
        let isMapped = kernelType != nil && isAligned
        return WeightLayout(
            rows: shape[0], columns: shape[1],
            storage: .floats(bytes: isMapped ? type.block.bytes : 4), isMapped: isMapped)
    }

    private var isAligned: Bool { Int(bitPattern: bytes.baseAddress) % type.block.bytes == 0 }

    private var kernelType: quant_type? {
        switch type {
        case .f32: QUANT_F32
        case .f16: QUANT_F16
        case .bf16: QUANT_BF16
        default: nil
        }
    }

    private func withAlignedHalves(
        _ source: UnsafeRawPointer, _ body: (UnsafePointer<UInt16>) -> Void
    ) {
        if Int(bitPattern: source) % 2 == 0 {
            return body(source.assumingMemoryBound(to: UInt16.self))
        }
        let copy = Buffer<UInt16>(count)
        UnsafeMutableRawPointer(copy.pointer).copyMemory(from: source, byteCount: count * 2)
        body(copy.pointer)
    }
}
