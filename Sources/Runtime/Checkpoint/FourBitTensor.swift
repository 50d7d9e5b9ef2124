import LorikeetQuant

/// A 4-bit weight as transformers saves it with bitsandbytes: codes, and companions named after it.
///
///     NAME                                  U8 [ceil(n/2), 1]         two codes a byte
///     NAME.absmax                           F32 [blocks], or U8 [blocks] when double-quantized
///     NAME.quant_map                        F32 [16]                  the codes' values
///     NAME.nested_absmax                    F32 [ceil(blocks/256)]    double-quantized only
///     NAME.nested_quant_map                 F32 [256]                 double-quantized only
///     NAME.quant_state.bitsandbytes__nf4    U8                        packed JSON
struct FourBitTensor {
    let name: String
    let state: QuantState
    private let path: String
    private let packed: Tensor
    private let absmax: Tensor
    private let nestedAbsmax: Tensor?
    private let nestedQuantMap: Tensor?

    /// What follows the weight's name, besides the quant state.
    static let partSuffixes = [".absmax", ".quant_map", ".nested_absmax", ".nested_quant_map"]

    /// The 4-bit weights among a checkpoint's tensors: those that have a quant state.
    static func formats(in tensors: [Tensor], path: String) throws -> [String: QuantizationFormat] {
        var formats: [String: QuantizationFormat] = [:]
        for tensor in tensors {
            for format in QuantizationFormat.allCases
            where tensor.name.hasSuffix(QuantState.suffix(format)) {
                let name = String(tensor.name.dropLast(QuantState.suffix(format).count))
                guard formats.updateValue(format, forKey: name) == nil else {
                    throw LorikeetError(
                        .malformed, path, "the tensor \(name) has two quant states, NF4 and FP4")
                }
            }
        }
        return formats
    }

    /// The names that only say how the weights are stored.
    static func companions(of formats: [String: QuantizationFormat]) -> Set<String> {
        var names: Set<String> = []
        for (name, format) in formats {
            names.formUnion(partSuffixes.map { name + $0 })
            names.insert(name + QuantState.suffix(format))
        }
        return names
    }

    /// Finds the parts and checks their types and sizes.
    init(
        _ name: String, format: QuantizationFormat, in tensors: [String: Tensor], path: String
    ) throws {
        func part(_ suffix: String, _ type: TensorType?, bytes: Int?) throws -> Tensor {
            guard let tensor = tensors[name + suffix] else {
                throw LorikeetError(
                    .malformed, path, "the 4-bit weight \(name) is incomplete: no \(name + suffix)")
            }
            guard type == nil || tensor.type == type, bytes == nil || tensor.bytes.count == bytes
            else {
                throw LorikeetError(
                    .malformed, path, "the tensor \(name + suffix) does not fit the quant state",
                    expected: "\(bytes ?? 0) bytes\(type.map { " of \($0.rawValue)" } ?? "")",
                    got: "\(tensor.bytes.count) bytes of \(tensor.type.rawValue)")
            }
            return tensor
        }
        self.name = name
        self.path = path
        state = try QuantState(
            try part(QuantState.suffix(format), .u8, bytes: nil), format: format, path: path)
        let blocks = state.blockCount
        // Any type: with bnb_4bit_quant_storage the same bytes are stored as, say, bf16.
        packed = try part("", nil, bytes: (state.shape.reduce(1, *) + 1) / 2)
        try Self.requireCodebook(
            try part(".quant_map", .f32, bytes: 64), format: format, path: path)
        if state.configuration.doubleQuantization {
            let nestedBlocks = (blocks + NestedAbsmax.blockSize - 1) / NestedAbsmax.blockSize
            absmax = try part(".absmax", .u8, bytes: blocks)
            nestedAbsmax = try part(".nested_absmax", .f32, bytes: nestedBlocks * 4)
            nestedQuantMap = try part(".nested_quant_map", .f32, bytes: 256 * 4)
        } else {
            absmax = try part(".absmax", .f32, bytes: blocks * 4)
            nestedAbsmax = nil
            nestedQuantMap = nil
        }
    }

    /// The weights as the kernels read them: codes in place, scales decoded.
    func weightMatrix(rows: Int, columns: Int) throws -> WeightMatrix {
        guard let data = packed.bytes.baseAddress else {
            throw LorikeetError(.malformed, path, "the 4-bit weight \(name) is empty")
        }
        return WeightMatrix(
            packed: data, absmax: try scales(),
            codebook: state.configuration.format.codebook, blockSize: state.configuration.blockSize,
            rows: rows, columns: columns, owner: packed.owner)
    }

    private func scales() throws -> Buffer<Float> {
        guard let nestedAbsmax, let nestedQuantMap else {
            let scales = Buffer<Float>(absmax.count)
            try absmax.floats(into: scales.pointer, path: path)
            return scales
        }
        let scales = Buffer<Float>(nestedAbsmax.count)
        let map = Buffer<Float>(256)
        try nestedAbsmax.floats(into: scales.pointer, path: path)
        try nestedQuantMap.floats(into: map.pointer, path: path)
        let nested = NestedAbsmax(
            codes: Array(absmax.bytes), nestedAbsmax: scales.array, offset: state.nestedOffset)
        // The codes of a 7B model are 100 MB: they are not read again.
        absmax.releasePages()
        return nested.decoded(through: map.array)
    }

    /// The kernels know a format's values; a file with others would be read wrongly.
    private static func requireCodebook(
        _ tensor: Tensor, format: QuantizationFormat, path: String
    ) throws {
        let values = Buffer<Float>(16)
        try tensor.floats(into: values.pointer, path: path)
        // Older versions of bitsandbytes computed FP4's twelfths in another order: the last bit differs.
        let agrees = zip(values.array, format.codebook.array).allSatisfy { abs($0 - $1) <= 1e-6 }
        guard agrees else {
            throw LorikeetError(
                .unsupported, path,
                "\(tensor.name) is not the \(format.rawValue.uppercased()) code book")
        }
    }
}
