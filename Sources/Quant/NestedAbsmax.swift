/// The scales of a double-quantized tensor: 8 bits each, and one fp32 scale for 256 of them.
///
///     absmax[b] = DynamicMap.values[codes[b]] * nestedAbsmax[b / 256] + offset
public struct NestedAbsmax: Sendable, Equatable {
    /// How many scales share a nested scale.
    public static let blockSize = 256

    /// One code a block of weights.
    public let codes: [UInt8]
    /// One scale for 256 codes.
    public let nestedAbsmax: [Float]
    /// The mean of the scales.
    public let offset: Float

    /// The parts as a file stores them; counts that do not fit each other trap.
    public init(codes: [UInt8], nestedAbsmax: [Float], offset: Float) {
        precondition(
            nestedAbsmax.count == (codes.count + Self.blockSize - 1) / Self.blockSize,
            "\(nestedAbsmax.count) nested scales for \(codes.count) scales")
        self.codes = codes
        self.nestedAbsmax = nestedAbsmax
        self.offset = offset
    }

    /// Quantizes scales, bit for bit as bitsandbytes does on a CPU.
    public init(quantizing absmax: UnsafeBufferPointer<Float>, on compute: Compute) {
        let offset = absmax.isEmpty ? 0 : cascadeMean(absmax)
        let blocks = (absmax.count + Self.blockSize - 1) / Self.blockSize
        var nestedAbsmax = [Float](repeating: 0, count: blocks)
        let codes = [UInt8](unsafeUninitializedCapacity: absmax.count) { codes, count in
            nestedAbsmax.withUnsafeMutableBufferPointer { nestedAbsmax in
                compute.pool.split(blocks) { _, begin, end in
                    for block in begin..<end {
                        let first = block * Self.blockSize
                        let scales = first..<min(first + Self.blockSize, absmax.count)
                        // NaN is no maximum. The reciprocal of 0 makes NaN of zeros, whose code is 0.
                        var largest: Float = 0
                        for i in scales {
                            let magnitude = abs(absmax[i] - offset)
                            if magnitude > largest { largest = magnitude }
                        }
                        nestedAbsmax[block] = largest
                        let reciprocal = 1 / largest
                        for i in scales {
                            codes[i] = DynamicMap.code(clamp((absmax[i] - offset) * reciprocal))
                        }
                    }
                }
            }
            count = absmax.count
        }
        self.init(codes: codes, nestedAbsmax: nestedAbsmax, offset: offset)
    }

    /// The scales that the kernels multiply by.
    ///
    /// - Parameter map: the 256 values of the codes, where a file brings its own.
    /// - Returns: one scale a block.
    public func decoded(through map: [Float] = DynamicMap.values) -> Buffer<Float> {
        precondition(map.count == 256, "a map of \(map.count) values for 8-bit codes")
        let absmax = Buffer<Float>(uninitialized: codes.count)
        let elements = absmax.elements
        map.withUnsafeBufferPointer { map in
            codes.withUnsafeBufferPointer { codes in
                for (index, scale) in nestedAbsmax.enumerated() {
                    let begin = index * Self.blockSize
                    for block in begin..<min(begin + Self.blockSize, codes.count) {
                        let scaled = map[Int(codes[block])] * scale
                        elements[block] = scaled + offset
                    }
                }
            }
        }
        return absmax
    }
}

/// `value` in [-1, 1]; NaN stays NaN.
private func clamp(_ value: Float) -> Float {
    value > 1 ? 1 : value < -1 ? -1 : value
}
