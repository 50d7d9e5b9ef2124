// ggml's K-quants: superblocks of 256 elements with small integer scales for groups of 16 or 32, after
// ggml-common.h; dequantized exactly as the reference implementation rounds it. d and dmin are IEEE
// halves; G is an element's group.
//
//     Q2_K   84 bytes   16 × (scale, min nibbles) │ 64 codes │ d │ dmin        w = d s[G] q - dmin m[G]
//     Q3_K  110 bytes   32 high bits │ 64 codes │ 12 scales │ d                w = d (s[G] - 32) (q - 4)
//     Q4_K  144 bytes   d │ dmin │ 12 scales │ 128 codes                       w = d s[G] q - dmin m[G]
//     Q5_K  176 bytes   d │ dmin │ 12 scales │ 32 high bits │ 128 codes        w = d s[G] q - dmin m[G]
//     Q6_K  210 bytes   128 low nibbles │ 64 high pairs │ 16 int8 scales │ d   w = d s[G] (q - 32)
//
// Codes of 2 bits come in runs of 32 bytes: element 128 h + 32 j + i is bits 2j of byte 32 h + i. Codes
// of 4 bits come in runs of 32 bytes for 64 elements: first the low nibbles, then the high ones; in
// Q6_K in runs of 64 bytes for 128 elements. High bits: element 32 j + i has bit j of byte i.

extension GGMLBlock {
    func q2_K() {
        let d = half(80)
        let dmin = half(82)
        for group in 0..<16 {
            let scale = d * Float(bytes[group] & 15)
            let minimum = dmin * Float(bytes[group] >> 4)
            for i in group * 16..<group * 16 + 16 {
                output[i] = scale * Float(twoBits(at: 16, i)) - minimum
            }
        }
    }

    func q3_K() {
        let d = half(108)
        for group in 0..<16 {
            // Low four bits: nibbles of the first 8 bytes; high two: pairs of bits of the last 4.
            let low = bytes[96 + group % 8] >> (group / 8 * 4) & 15
            let high = bytes[104 + group % 4] >> (group / 4 * 2) & 3
            let scale = d * Float(Int(low | high << 4) - 32)
            for i in group * 16..<group * 16 + 16 {
                // A set bit means that nothing is subtracted.
                let below = highBit(at: 0, i) == 0 ? 4 : 0
                output[i] = scale * Float(twoBits(at: 32, i) - below)
            }
        }
    }

    func q4_K() {
        let d = half(0)
        let dmin = half(2)
        for group in 0..<8 {
            let (scale, minimum) = sixBitPair(at: 4, group)
            let (ds, dm) = (d * scale, dmin * minimum)
            for i in 0..<32 {
                output[group * 32 + i] = ds * Float(nibble(at: 16, group, i)) - dm
            }
        }
    }

    func q5_K() {
        let d = half(0)
        let dmin = half(2)
        for group in 0..<8 {
            let (scale, minimum) = sixBitPair(at: 4, group)
            let (ds, dm) = (d * scale, dmin * minimum)
            for i in 0..<32 {
                let code = nibble(at: 48, group, i) | highBit(at: 16, group * 32 + i) << 4
                output[group * 32 + i] = ds * Float(code) - dm
            }
        }
    }

    func q6_K() {
        let d = half(208)
        for group in 0..<16 {
            let scale = d * int8(192 + group)
            for i in group * 16..<group * 16 + 16 {
                let byte = bytes[i / 128 * 64 + i % 64]
                let low = Int(byte >> (i % 128 / 64 * 4) & 15)
                output[i] = scale * Float((low | twoBits(at: 128, i) << 4) - 32)
            }
        }
    }

    private func twoBits(at offset: Int, _ i: Int) -> Int {
        Int(bytes[offset + i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3)
    }

    private func highBit(at offset: Int, _ i: Int) -> Int {
        Int(bytes[offset + i % 32] >> (i / 32) & 1)
    }

    private func nibble(at offset: Int, _ group: Int, _ i: Int) -> Int {
        Int(bytes[offset + group / 2 * 32 + i] >> (group % 2 * 4) & 15)
    }

    /// Scale and minimum of a group of Q4_K and Q5_K, 6 bits each in 12 bytes.
    ///
    /// Groups 0–3 have the low six bits of bytes 0–3 (scales) and 4–7 (minima). Groups 4–7 have a
    /// nibble each in bytes 8–11, and the two bits that the others leave over.
    private func sixBitPair(at offset: Int, _ group: Int) -> (scale: Float, minimum: Float) {
        let i = offset + group % 4
        if group < 4 { return (Float(bytes[i] & 63), Float(bytes[i + 4] & 63)) }
        return (
            Float(bytes[i + 8] & 15 | bytes[i] >> 2 & 48),
            Float(bytes[i + 8] >> 4 | bytes[i + 4] >> 2 & 48)
        )
    }
}
