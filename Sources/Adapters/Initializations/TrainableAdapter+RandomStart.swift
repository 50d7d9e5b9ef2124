import LorikeetQuant
import LorikeetRuntime

extension TrainableAdapter {
    /// A uniform in ±1/√in (Kaiming's with a = √5), B zero, so that the model begins as the base.
    ///
    /// The numbers depend on `seed` and on the layers, not on threads or machine, in this and the other
    /// random starts.
    package func startUniformly(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        for module in modules {
            let bound = 1 / Double(module.inputSize).squareRoot()
            for index in 0..<module.delta.a.count {
                module.delta.a[index] = Float((2 * generator.uniform() - 1) * bound)
            }
        }
    }

    /// A normal with standard deviation 1/r, B zero: PEFT's `gaussian`.
    package func startNormally(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        for module in modules {
            for index in 0..<module.delta.a.count {
                module.delta.a[index] = Float(generator.normal() / Double(rank))
            }
        }
    }

    /// Neither factor zero, their product exactly so but for rounding: PEFT's `orthogonal`.
    ///
    /// With Q [r, r] orthogonal, A = Q₁ᵀ G and B = H Q₂, where Q₁ holds every other row of Q from the
    /// first, Q₂ the rows between, and G [r/2, in], H [out, r/2] are normal with standard deviation 0.1.
    /// Since Q₂ Q₁ᵀ = 0, B A = 0, and both factors have gradients from the first step on.
    /// Source: datta0.github.io, "Rethink LoRA initialisations"; PEFT's `orthogonal_init`.
    ///
    /// - Throws: `.invalidArgument` for an odd rank.
    package func startOrthogonally(seed: UInt64) throws {
        guard rank.isMultiple(of: 2) else {
            throw LorikeetError(
                .invalidArgument, "--init orthogonal", "needs an even rank",
                expected: "an even --rank",
                got: "\(rank)")
        }
        var generator = SeededGenerator(seed: seed)
        let half = rank / 2
        for module in modules {
            var q = (0..<rank * rank).map { _ in generator.normal() }
            OrthonormalRows.orthonormalize(&q, rows: rank, columns: rank)
            let g = (0..<half * module.inputSize).map { _ in 0.1 * generator.normal() }
            let h = (0..<module.outputSize * half).map { _ in 0.1 * generator.normal() }
            let (a, b, columns) = (module.delta.a, module.delta.b, module.inputSize)
            for i in 0..<rank {
                for j in 0..<columns {
                    a[i * columns + j] = Float(
                        (0..<half).reduce(0) { $0 + q[2 * $1 * rank + i] * g[$1 * columns + j] })
                }
                for row in 0..<module.outputSize {
                    b[row * rank + i] = Float(
                        (0..<half).reduce(0) {
                            $0 + h[row * half + $1] * q[(2 * $1 + 1) * rank + i]
                        })
                }
            }
        }
    }
}
