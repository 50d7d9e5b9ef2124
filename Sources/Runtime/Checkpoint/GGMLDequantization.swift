extension TensorType {
    /// Whether elements are ggml's blocks, which the kernels do not read.
    var isGGMLBlock: Bool { !isSafetensors }

    /// Dequantizes whole blocks of a ggml type to fp32.
    ///
    /// - Parameters:
    ///   - blocks: `count` blocks.
    ///   - count: how many blocks.
    ///   - output: `count * block.elements` elements.
    func dequantize(
        _ blocks: UnsafeRawPointer, count: Int, into output: UnsafeMutablePointer<Float>
    ) {
        let bytes = blocks.assumingMemoryBound(to: UInt8.self)
        let block = self.block
        func each(_ body: (GGMLBlock) -> Void) {
            for i in 0..<count {
                body(GGMLBlock(bytes: bytes + i * block.bytes, output: output + i * block.elements))
            }
        }
        switch self {
        case .q8_0: each { $0.q8_0() }
        case .q4_0: each { $0.q4_0() }
        case .q4_1: each { $0.q4_1() }
        case .q5_0: each { $0.q5_0() }
        case .q5_1: each { $0.q5_1() }
        case .iq4_nl:
            GGMLBlock.iq4Values.withUnsafeBufferPointer { values in
                guard let values = values.baseAddress else { return }
                each { $0.iq4_nl(values) }
            }
        case .q2_K: each { $0.q2_K() }
        case .q3_K: each { $0.q3_K() }
        case .q4_K: each { $0.q4_K() }
        case .q5_K: each { $0.q5_K() }
        case .q6_K: each { $0.q6_K() }
        default: preconditionFailure("\(self) is no type of blocks")
        }
    }
}
