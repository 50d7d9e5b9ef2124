import QuantKernels

/// The scales of 4-bit blocks with the least error where inputs are large, instead of each block's absmax.
///
///     s = argmin Σᵢ hᵢ (wᵢ − s q(wᵢ / s))²
///
/// h is the mean square of the input channel that a weight multiplies: the sum is the layer's expected squared
/// error were its inputs uncorrelated. 51 multiples of absmax from 0.6 to 1.1 are tried, then the scale is fitted
/// to the codes by least squares, Σ h w q / Σ h q², up to three times while that helps. The unweighted error
/// (h = 1) is no goal: it clips the large weights, which carry more than their share, and a model gets worse than
/// with absmax.
public struct ScaleSearch: Sendable {
    /// Multiples of absmax that are tried.
    public static let multipliers: [Float] = (0...50).map { 0.6 + Float($0) / 100 }
    private static let refits = 3

    /// How the weights will be quantized.
    public let configuration: QuantizationConfiguration

    /// A search for this format.
    public init(_ configuration: QuantizationConfiguration) { self.configuration = configuration }

    /// The scale of each block of the flattened matrix; that of a block of zeros is 0, of one with NaN or
    /// infinity not finite.
    ///
    /// - Parameters:
    ///   - weights: [rows, columns]
    ///   - importance: h [columns], not negative.
    ///   - compute: what to run on.
    /// - Returns: [blocks]
    public func scales(
        of weights: UnsafeBufferPointer<Float>, importance: UnsafeBufferPointer<Float>,
        on compute: Compute
    ) -> Buffer<Float> {
        let (columns, blockSize) = (importance.count, configuration.blockSize)
        precondition(
            weights.count % max(columns, 1) == 0, "\(weights.count) weights of \(columns) columns")
        let scales = Buffer<Float>((weights.count + blockSize - 1) / blockSize)
        // Blocks straddle rows: a block that begins at any column finds its channels in one piece.
        let wrapped = Buffer<Float>(columns + blockSize)
        for i in 0..<wrapped.count { wrapped[i] = importance[i % columns] }
        guard let start = weights.baseAddress else { return scales }
        compute.pool.split(scales.count, by: 16) { _, first, last in
            for block in first..<last {
                let begin = block * blockSize
                scales[block] = scale(
                    of: start + begin, importance: wrapped.pointer + begin % columns,
                    count: min(blockSize, weights.count - begin), compute)
            }
        }
        return scales
    }

    /// The best scale of one block.
    private func scale(
        of x: UnsafePointer<Float>, importance h: UnsafePointer<Float>, count: Int,
        _ compute: Compute
    ) -> Float {
        var absmax: Float = 0
        for i in 0..<count {
            guard x[i].isFinite else { return .nan }
            absmax = max(absmax, abs(x[i]))
        }
        guard absmax > 0 else { return 0 }
        // The error of a scale less Σ h w², which is the same for all, and the scale that fits its codes.
        func attempt(_ scale: Float) -> (error: Double, fitted: Float) {
            var products: (Float, Float) = (0, 0)
            withUnsafeMutableBytes(of: &products) { bytes in
                compute.kernels.nearest_products(
                    x, h, count, 1 / scale, configuration.format.midpoints.pointer,
                    configuration.format.ascending.pointer,
                    bytes.assumingMemoryBound(to: Float.self).baseAddress)
            }
            let (xq, qq, s) = (Double(products.0), Double(products.1), Double(scale))
            return (s * (s * qq - 2 * xq), Float(xq / qq))
        }
        var best = (scale: absmax, attempt(absmax))
        for multiplier in Self.multipliers {
            let scale = multiplier * absmax
            let result = attempt(scale)
            if result.error < best.1.error { best = (scale, result) }
        }
        for _ in 0..<Self.refits {
            let scale = best.1.fitted
            guard scale > 0, scale.isFinite else { break }
            let result = attempt(scale)
            guard result.error < best.1.error else { break }
            best = (scale, result)
        }
        return best.scale
    }
}
