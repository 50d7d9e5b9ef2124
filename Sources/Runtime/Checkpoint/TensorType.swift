/// How the elements of a checkpoint's tensor are stored.
public enum TensorType: String, Sendable, CaseIterable {
    // safetensors
    /// fp32
    case f32 = "F32"
    /// IEEE half
    case f16 = "F16"
    /// bfloat16
    case bf16 = "BF16"
    /// Bytes: packed 4-bit codes, 8-bit codes, packed JSON.
    case u8 = "U8"
}
