/// The signed 8-bit dynamic data type in which double quantization stores scales.
///
/// A tree of linear ranges, one a decade (Dettmers 2016, "8-Bit Approximations for Parallelism in
/// Deep Learning"): 2^i values in 10^(i-6) × (0.1, 1) for i in 0 ... 6, each with both signs, then 0
/// and 1; ascending, as bitsandbytes' `create_dynamic_map`.
public enum DynamicMap {
    /// The 256 values, ascending.
    public static let values: [Float] = {
        var values: [Float] = [0, 1]
        for exponent in 0..<7 {
            let scale = powersOfTen[exponent]
            let boundaries = linearSpace(from: 0.1, to: 1, count: 1 << exponent + 1)
            for (low, high) in zip(boundaries, boundaries.dropFirst()) {
                let mean = (low + high) / 2
                values += [scale * mean, -scale * mean]
            }
        }
        return values.sorted()
    }()

    private static let powersOfTen: [Float] = [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1]

    /// The code of a value in [-1, 1]; NaN has code 0.
    ///
    /// bitsandbytes' CPU code rounds to one of 65,536 steps first, and takes the value nearest to
    /// the step; so does this.
    static func code(_ value: Float) -> UInt8 {
        value.isNaN ? 0 : codeOfStep[Int(((value + 1) * 0.5 * 65535 + 0.5).rounded(.down))]
    }

    private static let codeOfStep: [UInt8] = {
        var code = 0
        return (0..<65536).map { step in
            let value = Float(step) / 65535 * 2 - 1
            while code < 255, (values[code] + values[code + 1]) / 2 < value { code += 1 }
            return UInt8(code)
        }
    }()

    /// `count` equidistant numbers, rounded as torch.linspace rounds them: from the nearer end, fused.
    private static func linearSpace(from start: Float, to end: Float, count: Int) -> [Float] {
        let step = (end - start) / Float(count - 1)
        return (0..<count).map { index in
            index < count / 2
                ? start.addingProduct(step, Float(index))
                : end.addingProduct(-step, Float(count - 1 - index))
        }
    }
}
