import LorikeetQuant
import Testing

struct NestedAbsmaxTests {
    // torch.mean (2.15, one thread) of i · 2654435761 mod 2³², its upper 24 bits as a fraction;
    // 1728, 5184 and 13824 are the counts of scales in SmolLM2's projections.
    @Test(
        arguments: [
            (1, 0x0000_0000), (7, 0x3ed9_df22), (8, 0x3ed3_8453), (9, 0x3ef1_bbcb),
            (31, 0x3efe_1d28), (64, 0x3eff_a6f2), (100, 0x3efc_40dc), (1728, 0x3eff_a63c),
            (5184, 0x3eff_ecb9), (13824, 0x3eff_f89a), (30000, 0x3eff_fdf9),
        ] as [(Int, UInt32)])
    func `the offset is torch's mean to the last bit`(count: Int, bits: UInt32) {
        let values = (0..<UInt32(count)).map { Float(($0 &* 2_654_435_761) >> 8) * 0x1p-24 }
        let nested = values.withUnsafeBufferPointer { NestedAbsmax(quantizing: $0, on: Compute()) }
        #expect(nested.offset.bitPattern == bits)
    }

    @Test func `equal scales are restored exactly`() {
        let scales = [Float](repeating: 0.25, count: 300)
        let nested = scales.withUnsafeBufferPointer { NestedAbsmax(quantizing: $0, on: Compute()) }
        #expect(nested.codes.allSatisfy { $0 == 0 })
        #expect(nested.nestedAbsmax == [0, 0])
        #expect(nested.decoded().array == scales)
    }

    @Test func `no scales make an empty value`() {
        let nested = NestedAbsmax(
            quantizing: UnsafeBufferPointer(start: nil, count: 0), on: Compute())
        #expect(nested == NestedAbsmax(codes: [], nestedAbsmax: [], offset: 0))
    }
}
