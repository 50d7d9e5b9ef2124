/// How the elements of a checkpoint's tensor are stored.
///
/// The raw value is the type's name in safetensors' header, or in ggml.
public enum TensorType: String, Sendable, CaseIterable {
    // Both formats
    /// fp64
    case f64 = "F64"
    /// fp32
    case f32 = "F32"
    /// IEEE half
    case f16 = "F16"
    /// bfloat16
    case bf16 = "BF16"
    /// 64-bit integers
    case i64 = "I64"
    /// 32-bit integers
    case i32 = "I32"
    /// 16-bit integers
    case i16 = "I16"
    /// 8-bit integers
    case i8 = "I8"

    // safetensors
    /// Unsigned 64-bit integers
    case u64 = "U64"
    /// Unsigned 32-bit integers
    case u32 = "U32"
    /// Unsigned 16-bit integers
    case u16 = "U16"
    /// Bytes: packed 4-bit codes, 8-bit codes, packed JSON.
    case u8 = "U8"
    /// Booleans, a byte each
    case bool = "BOOL"
    /// 8-bit floats, 5 bits of exponent
    case f8e5m2 = "F8_E5M2"
    /// 8-bit floats, 4 bits of exponent
    case f8e4m3 = "F8_E4M3"
    /// Powers of two, 8 bits of exponent
    case f8e8m0 = "F8_E8M0"
    /// 8-bit floats, 5 bits of exponent, without negative zero
    case f8e5m2fnuz = "F8_E5M2FNUZ"
    /// 8-bit floats, 4 bits of exponent, without negative zero
    case f8e4m3fnuz = "F8_E4M3FNUZ"
    /// 6-bit floats, 2 bits of exponent
    case f6e2m3 = "F6_E2M3"
    /// 6-bit floats, 3 bits of exponent
    case f6e3m2 = "F6_E3M2"
    /// 4-bit floats
    case f4 = "F4"
    /// Pairs of fp32: complex numbers
    case c64 = "C64"

    // ggml: blocks of elements that share scales
    /// 8-bit codes, a scale for 32
    case q8_0 = "Q8_0"
    /// 4-bit codes, a scale for 32
    case q4_0 = "Q4_0"
    /// 4-bit codes, a scale and a minimum for 32
    case q4_1 = "Q4_1"
    /// 5-bit codes, a scale for 32
    case q5_0 = "Q5_0"
    /// 5-bit codes, a scale and a minimum for 32
    case q5_1 = "Q5_1"
    /// 2-bit codes, 4-bit scales and minima for 16
    case q2_K = "Q2_K"
    /// 3-bit codes, 6-bit scales for 16
    case q3_K = "Q3_K"
    /// 4-bit codes, 6-bit scales and minima for 32
    case q4_K = "Q4_K"
    /// 5-bit codes, 6-bit scales and minima for 32
    case q5_K = "Q5_K"
    /// 6-bit codes, 8-bit scales for 16
    case q6_K = "Q6_K"
    /// 4-bit codes of a table of 16 values, a scale for 32
    case iq4_nl = "IQ4_NL"

    /// How many elements are stored together, and in how many bytes.
    public var block: (elements: Int, bytes: Int) {
        switch self {
        case .c64, .f64, .i64, .u64: (1, 8)
        case .f32, .i32, .u32: (1, 4)
        case .f16, .bf16, .i16, .u16: (1, 2)
        case .i8, .u8, .bool, .f8e5m2, .f8e4m3, .f8e8m0, .f8e5m2fnuz, .f8e4m3fnuz: (1, 1)
        case .f6e2m3, .f6e3m2: (4, 3)
        case .f4: (2, 1)
        case .q8_0: (32, 34)
        case .q4_0, .iq4_nl: (32, 18)
        case .q4_1: (32, 20)
        case .q5_0: (32, 22)
        case .q5_1: (32, 24)
        case .q2_K: (256, 84)
        case .q3_K: (256, 110)
        case .q4_K: (256, 144)
        case .q5_K: (256, 176)
        case .q6_K: (256, 210)
        }
    }

    /// The bytes of a tensor of `shape`; nil when that overflows or cuts a block.
    public func byteCount(of shape: [Int]) -> Int? {
        guard let count = elementCount(of: shape), count % block.elements == 0 else { return nil }
        let (bytes, overflow) = (count / block.elements).multipliedReportingOverflow(
            by: block.bytes)
        return overflow ? nil : bytes
    }
}

/// The product of a shape that a file claims; nil when a dimension is negative or the product overflows.
func elementCount(of shape: [Int]) -> Int? {
    var count = 1
    for dimension in shape {
        let (product, overflow) = count.multipliedReportingOverflow(by: dimension)
        guard dimension >= 0, !overflow else { return nil }
        count = product
    }
    return count
}
