public import LorikeetQuant
import QuantKernels

extension Buffer<Float> {
    /// Calls `body` with the elements as `type` stores them, rounded to nearest even where it is not F32.
    ///
    /// - Parameters:
    ///   - type: F32, F16 or BF16.
    ///   - name: whose elements they are, for the error.
    ///   - compute: what to run on.
    ///   - body: gets the bytes, valid during the call.
    /// - Returns: what `body` returns.
    /// - Throws: what `body` throws; `.unsupported` for a number that F16 cannot hold.
    public func withBytes<Result>(
        as type: TensorType, of name: String, on compute: Compute,
        _ body: (UnsafeRawBufferPointer) throws -> Result
    ) throws -> Result {
        guard type != .f32 else {
            return try withExtendedLifetime(self) { try body(UnsafeRawBufferPointer(elements)) }
        }
        precondition(type == .f16 || type == .bf16, "floats are not stored as \(type)")
        if type == .f16, let index = elements.firstIndex(where: { abs($0) >= 65_520 }) {
            throw LorikeetError(
                .unsupported, name, "a number that F16 cannot hold",
                expected: "less than 65520", got: "\(self[index])", advice: "Use bf16 or fp32.")
        }
        let halves = Buffer<UInt16>(uninitialized: count)
        let convert =
            type == .f16 ? compute.kernels.f16_from_f32 : compute.kernels.bf16_from_f32
        compute.pool.split(count, by: 4096) { _, begin, end in
            convert?(pointer + begin, end - begin, halves.pointer + begin)
        }
        return try withExtendedLifetime(halves) {
            try body(UnsafeRawBufferPointer(halves.elements))
        }
    }
}
