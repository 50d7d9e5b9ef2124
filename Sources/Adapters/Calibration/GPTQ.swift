import CLAPACKE
package import LorikeetQuant
import LorikeetRuntime
import QuantKernels

/// GPTQ onto a 4-bit grid whose scales are given: codes that make up for each other's rounding.
///
///     Q = argmin tr((W* − Q) H (W* − Q)ᵀ),   W* = W + G H⁻¹
///
/// Inputs are taken in the order of falling mean square; each is rounded, and the rest of the row takes over what
/// that did to the layer's output. H = E[x xᵀ] of the layer's inputs gets a hundredth of its mean diagonal added.
/// G = E[(t − W x) xᵀ] moves the weights towards outputs t other than their own: to the least-squares solution, held
/// back by the same hundredth, or a share of the way there.
/// Source: Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers"
/// (2022), algorithm 1, with `act_order`; the target is that of Li et al., "GPTAQ: Efficient Finetuning-Free
/// Quantization for Asymmetric Calibration" (2025), solved exactly.
package struct GPTQ {
    /// The share of H's mean diagonal that is added to it.
    static let damping = 0.01
    /// How far weights are moved towards outputs other than their own.
    ///
    /// Half of what there is to make up for: all of it follows the errors of this text, and of none the errors add
    /// up. SmolLM2's perplexity over that in fp32 with 0, ½ and 1: Genesis +13.7, +11.5, +14.5 %, WikiText +9.9, +5.0,
    /// +5.8 %.
    static let outputShare: Float = 0.5
    /// Inputs that are rounded before the others hear of it.
    private static let lazyBlock = 64
    /// Outputs that a thread takes at once; rows do not know of each other.
    private static let slab = 64

    /// E[x xᵀ] [columns, columns].
    private let gram: Buffer<Float>
    private let columns: Int
    /// The inputs, the largest mean square first.
    private let order: [Int]
    /// U, upper triangular, H⁻¹ = Uᵀ U in that order [columns, columns].
    private let factor: Buffer<Float>

    /// Factorizes H, in float64; nil where it is not finite.
    ///
    /// - gram: E[x xᵀ] [columns, columns], symmetric.
    package init?(gram: Buffer<Float>, columns n: Int) {
        self.gram = gram
        columns = n
        let diagonal = (0..<n).map { gram[$0 * n + $0] }
        // Ties in the order of the columns.
        let order = (0..<n).sorted { (diagonal[$1], $0) < (diagonal[$0], $1) }
        self.order = order
        let mean = diagonal.reduce(0.0) { $0 + Double($1) } / Double(n)
        guard mean.isFinite else { return nil }
        let added = mean > 0 ? Self.damping * mean : 1
        // J H J with J the reversal: its Cholesky factor L gives H = (J L J)(J L J)ᵀ, so U = J L⁻¹ J. Row-major L is
        // LAPACK's upper triangle.
        let matrix = Buffer<Double>(uninitialized: n * n)
        for i in 0..<n {
            let row = gram.pointer + order[n - 1 - i] * n
            for j in 0...i { matrix[i * n + j] = Double(row[order[n - 1 - j]]) }
            matrix[i * n + i] += added
        }
        let (upper, size) = (CChar(bitPattern: UInt8(ascii: "U")), Int32(n))
        let nonUnit = CChar(bitPattern: UInt8(ascii: "N"))
        OpenBLAS.useOneThread
        guard LAPACKE_dpotrf(LAPACK_COL_MAJOR, upper, size, matrix.pointer, size) == 0,
            LAPACKE_dtrtri(LAPACK_COL_MAJOR, upper, nonUnit, size, matrix.pointer, size) == 0
        else { return nil }
        factor = Buffer<Float>(n * n)
        for i in 0..<n {
            for j in i..<n { factor[i * n + j] = Float(matrix[(n - 1 - i) * n + n - 1 - j]) }
        }
    }

    /// A matrix in 4 bits, and what that costs.
    package struct Solution {
        /// Codes and scales.
        package var tensor: QuantizedTensor
        /// tr((W* − Q) H (W* − Q)ᵀ) over tr(W* H W*ᵀ).
        package var outputError: Double
    }

    /// Quantizes one matrix.
    ///
    /// - Parameters:
    ///   - weights: W [rows, columns].
    ///   - shift: G.
    ///   - configuration: the format.
    ///   - compute: what to run on.
    /// - Returns: the matrix in 4 bits.
    package func quantize(
        _ weights: Buffer<Float>, shift: Shift, configuration: QuantizationConfiguration,
        on compute: Compute
    ) -> Solution {
        let rows = weights.count / columns
        let (aim, energy) = aim(weights, shift, on: compute)
        let importance = Buffer((0..<columns).map { gram[$0 * columns + $0] })
        let scales = ScaleSearch(configuration).scales(
            of: UnsafeBufferPointer(aim.elements),
            importance: UnsafeBufferPointer(importance.elements), on: compute)
        let absmax = QuantizedTensor.Absmax(storing: scales, configuration, on: compute)
        let intervals = Buffer<UInt8>(uninitialized: weights.count)
        let loss = round(
            aim, scales: absmax.decoded(), configuration, into: intervals, on: compute)
        return Solution(
            tensor: QuantizedTensor(
                intervals: intervals, shape: [rows, columns], absmax: absmax,
                configuration: configuration, on: compute),
            outputError: energy > 0 ? loss / energy : 0)
    }

    /// Where G comes from.
    package enum Shift {
        /// G = 0: the layer's own outputs.
        case none
        /// G = W D, D = E[(x_target − x) xᵀ] [columns, columns]: its outputs for other inputs.
        case inputs(Buffer<Float>)
        /// G = E[t xᵀ] − W H, from E[t xᵀ] [rows, columns]: outputs t.
        case outputs(Buffer<Float>)
    }

    /// W* and tr(W* H W*ᵀ).
    private func aim(
        _ weights: Buffer<Float>, _ shift: Shift, on compute: Compute
    ) -> (Buffer<Float>, Double) {
        let n = columns
        let rows = weights.count / n
        let aim = Buffer<Float>(uninitialized: weights.count)
        let energies = Buffer<Double>((rows + Self.slab - 1) / Self.slab)
        compute.pool.run(pieces: energies.count) { thread, piece in
            let first = piece * Self.slab
            let R = min(Self.slab, rows - first)
            let (w, aim) = (weights.pointer + first * n, aim.pointer + first * n)
            aim.update(from: w, count: R * n)
            let (g, v) = (Buffer<Float>(R * n), Buffer<Float>(uninitialized: R * n))
            func multiply(
                _ a: UnsafePointer<Float>, _ b: Buffer<Float>, _ form: DenseProduct.Form = .plain,
                into c: Buffer<Float>
            ) {
                DenseProduct.multiply(
                    rows: R, columns: n, inner: n, a, lda: n, b.pointer, form, ldb: n,
                    into: c.pointer, ldc: n, thread: thread, on: compute)
            }
            switch shift {
            case .none: break
            case .inputs(let difference):
                multiply(w, difference, into: g)
            case .outputs(let cross):
                multiply(w, gram, into: g)
                compute.kernels.scale(-1, R * n, g.pointer)
                compute.kernels.axpy(1, cross.pointer + first * n, R * n, g.pointer)
                compute.kernels.scale(Self.outputShare, R * n, g.pointer)
            }
            if case .none = shift {
            } else {
                // G H⁻¹ = (G Uᵀ) U, in the order of U.
                for r in 0..<R {
                    for j in 0..<n { v[r * n + j] = g[r * n + order[j]] }
                }
                multiply(v.pointer, factor, .transposed, into: g)
                multiply(g.pointer, factor, into: v)
                for r in 0..<R {
                    for j in 0..<n { aim[r * n + order[j]] += v[r * n + j] }
                }
            }
            multiply(aim, gram, into: g)
            energies[piece] = (0..<R * n).reduce(0.0) { $0 + Double(aim[$1]) * Double(g[$1]) }
        }
        return (aim, energies.elements.reduce(0, +))
    }

    /// Chooses the codes.
    ///
    /// - intervals: gets the place of each weight's value among the ascending ones [rows, columns].
    /// - Returns: tr((W* − Q) H (W* − Q)ᵀ), H damped.
    private func round(
        _ aim: Buffer<Float>, scales: Buffer<Float>, _ configuration: QuantizationConfiguration,
        into intervals: Buffer<UInt8>, on compute: Compute
    ) -> Double {
        let n = columns
        let rows = aim.count / n
        let U = factor.pointer
        let grid = NearestCode(configuration.format)
        let values = grid.values.pointer
        let shift = configuration.blockSize.trailingZeroBitCount
        let losses = Buffer<Double>((rows + Self.slab - 1) / Self.slab)
        compute.pool.run(pieces: losses.count) { thread, piece in
            let first = piece * Self.slab
            let R = min(Self.slab, rows - first)
            // The slab's transpose in the order of U: an input's weights lie together [columns, R].
            let w = Buffer<Float>(uninitialized: n * R)
            for (j, column) in order.enumerated() {
                for r in 0..<R { w[j * R + r] = aim[(first + r) * n + column] }
            }
            let errors = Buffer<Float>(Self.lazyBlock * R)
            var loss = 0.0
            for begin in stride(from: 0, to: n, by: Self.lazyBlock) {
                let end = min(begin + Self.lazyBlock, n)
                for j in begin..<end {
                    let (x, e) = (w.pointer + j * R, errors.pointer + (j - begin) * R)
                    let share = 1 / U[j * n + j]
                    for r in 0..<R {
                        let index = (first + r) * n + order[j]
                        let scale = scales[index >> shift]
                        let code = grid.interval(x[r] * NearestCode.reciprocal(of: scale))
                        intervals[index] = code
                        e[r] = (x[r] - scale * values[Int(code)]) * share
                    }
                    loss += compute.kernels.sum_of_squares(e, R)
                    for k in j + 1..<max(end, j + 1) {
                        compute.kernels.axpy(-U[j * n + k], e, R, w.pointer + k * R)
                    }
                }
                DenseProduct.multiply(
                    rows: n - end, columns: R, inner: end - begin, alpha: -1, U + begin * n + end,
                    .transposed, lda: n, errors.pointer, ldb: R, accumulate: true,
                    into: w.pointer + end * R, ldc: R, thread: thread, on: compute)
            }
            losses[piece] = loss
        }
        return losses.elements.reduce(0, +)
    }
}
