import LorikeetAdapters
import LorikeetRuntime

/// The paper's experiment (figure 1): ½ ‖B A − M‖² by gradient descent.
///
/// M [40, 30] has four singular values of 22, A starts large and B small, as LoRA does; the loss starts
/// at about 1e3.
struct MatrixFactorization {
    /// What becomes of the gradients before they are descended along.
    enum Descent: String, CaseIterable {
        /// Nothing.
        case plain = "LoRA"
        /// Each by the other factor's inverse Gram matrix (Tong, Ma, Chi 2021).
        case scaled = "ScaledGD"
        /// By S and its inverse.
        case refactored = "RefLoRA"
    }

    /// The learning rate.
    let rate: Double
    /// What target and start follow from.
    let seed: UInt64

    /// The loss before each iteration; ends early where it is 1e9 times the start's.
    func losses(_ descent: Descent, iterations: Int) throws -> [Double] {
        let (rows, columns, rank) = (40, 30, 4)
        var generator = SeededGenerator(seed: seed)
        let left = Matrix.orthonormalRows(rank, rows, &generator).transposed
        let target = 22 * (left * Matrix.orthonormalRows(rank, columns, &generator))
        var a = 2 * Matrix.random(rank, columns, &generator)
        var b = 0.1 * Matrix.random(rows, rank, &generator)
        var losses: [Double] = []
        for _ in 0..<iterations {
            let residual = b * a - target
            losses.append(0.5 * residual.norm * residual.norm)
            guard let loss = losses.last, loss < 1e12 else { break }
            var (dA, dB) = (b.transposed * residual, residual * a.transposed)
            switch descent {
            case .plain: break
            case .scaled:
                (dA, dB) = ((b.transposed * b).inverse * dA, dB * (a * a.transposed).inverse)
            case .refactored:
                let s = try RefactoringMatrix(a: a.elements, b: b.elements, rank: rank)
                (dA, dB) = (
                    Matrix(rank, rank, s.inverse) * dA, dB * Matrix(rank, rank, s.elements)
                )
            }
            (a, b) = (a - rate * dA, b - rate * dB)
        }
        return losses
    }
}
