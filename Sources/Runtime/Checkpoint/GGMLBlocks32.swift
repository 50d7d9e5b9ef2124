// ggml's blocks of 32 elements, after ggml-common.h; each is dequantized exactly as the reference
// implementation (ggml-quants.c, and `gguf.quants` in Python) rounds it. Numbers are little-endian,
// d and m are IEEE halves, and code i of a nibble array of 16 bytes is the low nibble of byte i for
// i < 16 and the high nibble of byte i - 16 from there on.
//
//     Q8_0   34 bytes   d │ 32 × int8                      w = d q
//     Q4_0   18 bytes   d │ 16 × 2 nibbles                 w = d (q - 8)
//     Q4_1   20 bytes   d │ m │ 16 × 2 nibbles             w = d q + m
//     Q5_0   22 bytes   d │ 32 high bits │ 16 × 2 nibbles  w = d (q - 16)
//     Q5_1   24 bytes   d │ m │ 32 high bits │ 16 × 2 …    w = d q + m
//     IQ4_NL 18 bytes   d │ 16 × 2 nibbles                 w = d values[q]
//
// Bit i of Q5's high bits is the fifth bit of code i.

/// One block of a ggml type, and where its elements go.
struct GGMLBlock {
    let bytes: UnsafePointer<UInt8>
    let output: UnsafeMutablePointer<Float>

    /// The half at `offset` as fp32.
    func half(_ offset: Int) -> Float {
        float(half: UInt16(bytes[offset]) | UInt16(bytes[offset + 1]) << 8)
    }

    /// The signed byte at `offset`.
    func int8(_ offset: Int) -> Float { Float(Int8(bitPattern: bytes[offset])) }
}

extension GGMLBlock {
    func q8_0() {
        let d = half(0)
        for i in 0..<32 { output[i] = int8(2 + i) * d }
    }

    func q4_0() {
        let d = half(0)
        for i in 0..<16 {
            let pair = Int(bytes[2 + i])
            output[i] = d * Float(pair & 15 - 8)
            output[i + 16] = d * Float(pair >> 4 - 8)
        }
    }

    func q4_1() {
        let d = half(0)
        let m = half(2)
        for i in 0..<16 {
            let pair = Int(bytes[4 + i])
            output[i] = d * Float(pair & 15) + m
            output[i + 16] = d * Float(pair >> 4) + m
        }
    }

    func q5_0() {
        let d = half(0)
        let high = highBits(at: 2)
        for i in 0..<16 {
            let pair = Int(bytes[6 + i])
            output[i] = d * Float((pair & 15 | (high >> i & 1) << 4) - 16)
            output[i + 16] = d * Float((pair >> 4 | (high >> (i + 16) & 1) << 4) - 16)
        }
    }

    func q5_1() {
        let d = half(0)
        let m = half(2)
        let high = highBits(at: 4)
        for i in 0..<16 {
            let pair = Int(bytes[8 + i])
            output[i] = d * Float(pair & 15 | (high >> i & 1) << 4) + m
            output[i + 16] = d * Float(pair >> 4 | (high >> (i + 16) & 1) << 4) + m
        }
    }

    func iq4_nl(_ values: UnsafePointer<Float>) {
        let d = half(0)
        for i in 0..<16 {
            let pair = Int(bytes[2 + i])
            output[i] = d * values[pair & 15]
            output[i + 16] = d * values[pair >> 4]
        }
    }

    /// IQ4_NL's non-linear grid.
    static let iq4Values: [Float] = [
        -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
    ]

    private func highBits(at offset: Int) -> Int {
        (0..<4).reduce(0) { $0 | Int(bytes[offset + $1]) << ($1 * 8) }
    }
}

/// An IEEE half as fp32. (Swift's Float16 is missing on some platforms.)
func float(half: UInt16) -> Float {
    let sign = UInt32(half & 0x8000) << 16
    let exponent = UInt32(half >> 10 & 31)
    let fraction = UInt32(half & 0x3ff)
    switch exponent {
    case 0:  // zero or subnormal
        let magnitude = Float(fraction) * 0x1p-24
        return sign == 0 ? magnitude : -magnitude
    case 31: return Float(bitPattern: sign | 0x7f80_0000 | fraction << 13)
    default: return Float(bitPattern: sign | (exponent + 112) << 23 | fraction << 13)
    }
}
