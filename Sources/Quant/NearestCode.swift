/// Which of a format's values is nearest to a scaled weight: the smaller of two as near, as the quantizer has it.
package struct NearestCode: Sendable {
    /// The values, ascending: those that intervals are places in.
    package let values: Buffer<Float>
    private let midpoints: Buffer<Float>

    /// The values of `format`.
    package init(_ format: QuantizationFormat) {
        values = format.ascending
        midpoints = format.midpoints
    }

    /// What weights are multiplied by before they are compared; that of the scale of zeros makes zeros.
    package static func reciprocal(of scale: Float) -> Float { scale == 0 ? 0 : 1 / scale }

    /// The place among `values` of the one nearest to `s`: the number of midpoints below it.
    @inline(__always)
    package func interval(_ s: Float) -> UInt8 {
        // A search in a tree of 15, its branches as numbers: they cannot be foretold.
        let m = midpoints.pointer
        var below = s > m[7] ? 8 : 0
        below += s > m[below + 3] ? 4 : 0
        below += s > m[below + 1] ? 2 : 0
        below += s > m[below] ? 1 : 0
        return UInt8(truncatingIfNeeded: below)
    }
}
