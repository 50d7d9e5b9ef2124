import LorikeetQuant
import QuantKernels
import TestSupport
import Testing

/// Products of matrices that are no weights, on every instruction set, against float64.
struct KernelGemmTests {
    // Below, at and past the panels' 16 and 32 columns, the tiles' rows, and a slice of 256.
    private static let shapes = [
        (0, 3, 4), (1, 1, 1), (3, 5, 7), (8, 16, 4), (17, 33, 65), (64, 40, 300), (400, 16, 9),
        (16, 70, 513), (5, 6, 0),
    ]

    @Test(arguments: InstructionSet.supported, [false, true])
    func `products of every form equal the definition`(
        instructionSet: InstructionSet, accumulate: Bool
    ) {
        let compute = Compute(threads: 1, instructionSet: instructionSet)
        for (M, N, K) in Self.shapes {
            for (aTransposed, bTransposed) in [
                (false, false), (false, true), (true, false), (true, true),
            ] {
                // Leading dimensions that are not the widths, and a border of C to check.
                let lda = (aTransposed ? M : K) + 3
                let ldb = (bTransposed ? K : N) + 5
                let ldc = N + 2
                let a = noise(lda * (aTransposed ? K : M), seed: 1)
                let b = noise(ldb * (bTransposed ? N : K), seed: 2)
                let before = noise(ldc * M, seed: 3).array
                let c = Buffer(before)
                let alpha: Float = 0.75
                var product = quant_gemm(
                    M: M, N: N, K: K, alpha: alpha, a: a.pointer, a_row: aTransposed ? 1 : lda,
                    a_column: aTransposed ? lda : 1, b: b.pointer, b_row: bTransposed ? 1 : ldb,
                    b_column: bTransposed ? ldb : 1, c: c.pointer, ldc: ldc,
                    accumulate: accumulate ? 1 : 0)
                compute.kernels.gemm(&product, compute.scratch(0))
                var failures = 0
                for m in 0..<M {
                    for n in 0..<ldc {
                        guard n < N else {
                            if c[m * ldc + n] != before[m * ldc + n] { failures += 1 }
                            continue
                        }
                        var sum = accumulate ? Double(before[m * ldc + n]) : 0
                        var magnitude = abs(sum)
                        for k in 0..<K {
                            let left = a[aTransposed ? k * lda + m : m * lda + k]
                            let right = b[bTransposed ? n * ldb + k : k * ldb + n]
                            sum += Double(alpha) * Double(left) * Double(right)
                            magnitude += abs(Double(alpha * left * right))
                        }
                        // Each of K products is rounded twice (alpha first), each sum once.
                        let tolerance = Double(2 * K + 2) * 0x1p-24 * magnitude
                        if !(abs(Double(c[m * ldc + n]) - sum) <= tolerance) { failures += 1 }
                    }
                }
                #expect(failures == 0, "\(M) × \(N) × \(K), \(aTransposed), \(bTransposed)")
            }
        }
    }
}
