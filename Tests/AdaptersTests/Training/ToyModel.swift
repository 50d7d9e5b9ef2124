import Foundation
import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime

/// A model small enough to differentiate by hand, the same as in Tests/interop/toy_training.py.
///
///     x = E[token],  h = tanh((W₀ + s B₀ A₀) x),  y = (W₁ + s B₁ A₁) h,  loss = ½ ‖y − T[label]‖²
///
/// With output scales, each output of the two layers is multiplied by its own.
struct ToyModel: LossAndGradients {
    static let (input, hidden, output, rank) = (12, 10, 9, 4)
    static let (vocabulary, rowCount) = (16, 10)
    static let first = ModulePath(layer: 0, module: .query)
    static let second = ModulePath(layer: 1, module: .down)
    static let shapes = [
        TrainableAdapter.Shape(path: first, inputSize: input, outputSize: hidden),
        TrainableAdapter.Shape(path: second, inputSize: hidden, outputSize: output),
    ]

    private let embedding = matrix(vocabulary, input, salt: 1, size: 1)
    private let targets = matrix(vocabulary, output, salt: 2, size: 1)
    private static let w0 = matrix(hidden, input, salt: 3, size: 0.3)
    private static let w1 = matrix(output, hidden, salt: 4, size: 0.3)

    /// Reproducible numbers without a generator that two languages must share; rounded to fp32.
    static func matrix(_ rows: Int, _ columns: Int, salt: Double, size: Double) -> Matrix {
        Matrix(
            rows, columns,
            (0..<rows * columns).map { index in
                let i = Double(index)
                return Double(Float(sin(1.7 * i * i + 0.9 * i + salt) * size))
            })
    }

    /// Row k has 3 + k mod 4 tokens; every third position is masked.
    static let rows: [TrainingRow] = (0..<rowCount).map { k in
        let tokens = (0..<3 + k % 4).map { (5 * k + 3 * $0 * $0 + $0) % vocabulary }
        let labels = tokens.enumerated().map { i, token in
            (i + k) % 3 == 0 ? TrainingRow.masked : Int32((7 * token + k) % vocabulary)
        }
        return TrainingRow(inputIDs: tokens.map(Int32.init), labels: labels)
    }

    /// The same rows, two and two.
    static let pairs: any TrainingRows = Pairs(rows: rows)

    private struct Pairs: TrainingRows {
        let rows: [TrainingRow]

        var count: Int { rows.count / 2 }
        func tokenCount(at index: Int) -> Int {
            example(at: index).reduce(0) { $0 + $1.inputIDs.count }
        }
        func targetCount(at index: Int) -> Int {
            example(at: index).reduce(0) { $0 + $1.targetCount }
        }
        func row(at index: Int) -> TrainingRow { rows[2 * index] }
        func example(at index: Int) -> [TrainingRow] { Array(rows[2 * index..<2 * index + 2]) }
        func name(of index: Int) -> String { "pair \(index + 1)" }
    }

    /// The reference's start: its A, and B zero, and what else `method` trains.
    static func adapter(scale: Float, for method: MethodName = .lora) -> TrainableAdapter {
        let adapter = TrainableAdapter(
            shapes: shapes, rank: rank, scale: scale, seed: 0,
            norms: method.trainsMagnitudes ? norms : nil, learnsA: method.learnsA)
        for (module, salt) in zip(adapter.modules, [5.0, 6.0]) {
            let a = matrix(rank, module.inputSize, salt: salt, size: 0.3)
            _ = module.delta.a.elements.update(from: a.elements.map { Float($0) })
        }
        return adapter
    }

    private static var norms: RowNorms {
        func weight(_ w: Matrix) -> LinearWeight {
            let floats = Buffer(w.elements.map { Float($0) })
            return .stored(WeightMatrix(floats: floats, rows: w.rows, columns: w.columns))
        }
        let weights = [first: weight(w0), second: weight(w1)]
        return RowNorms(on: Compute(threads: 1, precision: .fp32)) { weights[$0] }
    }

    func accumulate(
        _ rows: [TrainingRow], adapter: any TrainableLowRankDeltas, lossScale: Float
    ) throws
        -> (loss: Double, targets: Int)
    {
        try pass(rows, adapter) { path, x, dy in
            guard let delta = adapter.delta(at: path), let gradient = adapter.gradient(at: path)
            else {
                return
            }
            // y = c ⊙ z, z = … + s B (A x):  dB = s dz (A x)ᵀ,  dA = s (Bᵀ dz) xᵀ,  dc = dy ⊙ z
            let (a, b) = factors(delta)
            if let dc = gradient.outputScale {
                let z = sum(path == Self.first ? Self.w0 : Self.w1, delta) * x
                for i in 0..<dc.count {
                    dc[i] += Float(Double(lossScale) * dy.elements[i] * z.elements[i])
                }
            }
            let dy = scales(delta) * dy
            let scale = Double(delta.scale) * Double(lossScale)
            let dB = scale * (dy * (a * x).transposed)
            let dA = scale * (b.transposed * dy * x.transposed)
            for index in 0..<gradient.a.count { gradient.a[index] += Float(dA.elements[index]) }
            for index in 0..<gradient.b.count { gradient.b[index] += Float(dB.elements[index]) }
        }
    }

    func evaluate(
        _ rows: [TrainingRow], adapter: any LowRankDeltas
    ) throws -> (
        loss: Double, targets: Int
    ) {
        try pass(rows, adapter) { _, _, _ in }
    }

    private func factors(_ delta: LowRankDelta) -> (a: Matrix, b: Matrix) {
        (
            Matrix(delta.rank, delta.a.count / delta.rank, delta.a.array.map(Double.init)),
            Matrix(delta.b.count / delta.rank, delta.rank, delta.b.array.map(Double.init))
        )
    }

    /// W + s B A.
    private func sum(_ w: Matrix, _ delta: LowRankDelta) -> Matrix {
        let (a, b) = factors(delta)
        return w - (-Double(delta.scale)) * (b * a)
    }

    /// The output scales as a diagonal matrix; ones where there are none.
    private func scales(_ delta: LowRankDelta) -> Matrix {
        delta.outputScale.map { .diagonal($0.array.map(Double.init)) }
            ?? .identity(delta.b.count / delta.rank)
    }

    private func weight(_ w: Matrix, _ path: ModulePath, _ adapter: any LowRankDeltas) -> Matrix {
        adapter.delta(at: path).map { scales($0) * sum(w, $0) } ?? w
    }

    private func pass(
        _ rows: [TrainingRow], _ adapter: any LowRankDeltas,
        backward: (ModulePath, _ x: Matrix, _ dy: Matrix) -> Void
    ) throws -> (loss: Double, targets: Int) {
        let first = weight(Self.w0, Self.first, adapter)
        let second = weight(Self.w1, Self.second, adapter)
        var (loss, count) = (0.0, 0)
        for row in rows {
            for i in 1..<row.inputIDs.count where row.labels[i] != TrainingRow.masked {
                let x = self.row(embedding, Int(row.inputIDs[i - 1]))
                let u = first * x
                let h = Matrix(u.rows, 1, u.elements.map { tanh($0) })
                let dy = second * h - self.row(targets, Int(row.labels[i]))
                loss += 0.5 * dy.norm * dy.norm
                count += 1
                let dh = second.transposed * dy
                let du = Matrix(
                    dh.rows, 1, zip(dh.elements, h.elements).map { $0 * (1 - $1 * $1) })
                backward(Self.second, h, dy)
                backward(Self.first, x, du)
            }
        }
        return (loss, count)
    }

    private func row(_ m: Matrix, _ index: Int) -> Matrix {
        Matrix(m.columns, 1, Array(m.elements[index * m.columns..<(index + 1) * m.columns]))
    }
}
