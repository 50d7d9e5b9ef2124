import LorikeetQuant
import LorikeetRuntime

/// A float type in which an adapter's factors can be stored.
public enum FactorType: String, Sendable, CaseIterable {
    /// Exact.
    case fp32
    /// The upper half of fp32, rounded to nearest even: a relative error of at most 2⁻⁸.
    case bf16

    /// The type's name in a safetensors file.
    var tensorType: TensorType {
        switch self {
        case .fp32: .f32
        case .bf16: .bf16
        }
    }

    /// `value` as this type holds it.
    func rounds(_ value: Float) -> Float {
        switch self {
        case .fp32: value
        case .bf16: Float(bitPattern: UInt32(Self.bf16(value)) << 16)
        }
    }

    /// Writes finite `values`, little-endian.
    func store(
        _ values: UnsafeMutableBufferPointer<Float>, into target: UnsafeMutableRawBufferPointer
    ) {
        switch self {
        case .fp32:
            for (index, value) in values.enumerated() {
                target.storeBytes(
                    of: value.bitPattern.littleEndian, toByteOffset: 4 * index, as: UInt32.self)
            }
        case .bf16:
            for (index, value) in values.enumerated() {
                target.storeBytes(
                    of: Self.bf16(value).littleEndian, toByteOffset: 2 * index, as: UInt16.self)
            }
        }
    }

    /// The upper half, rounded to nearest even: add just under half of its last place, or half if odd.
    private static func bf16(_ value: Float) -> UInt16 {
        let bits = value.bitPattern
        guard value.isFinite else { return UInt16(bits >> 16) | (value.isNaN ? 0x40 : 0) }
        return UInt16((bits + 0x7FFF + (bits >> 16 & 1)) >> 16)
    }
}
