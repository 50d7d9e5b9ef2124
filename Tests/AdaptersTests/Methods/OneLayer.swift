import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime

/// An adapter of one layer, seen as matrices.
struct OneLayer {
    let adapter: TrainableAdapter
    let scale: Double

    init(a: Matrix, b: Matrix, scale: Double = 1, learnsA: Bool = true) {
        adapter = TrainableAdapter(
            shapes: [
                .init(
                    path: ModulePath(layer: 0, module: .query), inputSize: a.columns,
                    outputSize: b.rows)
            ],
            rank: a.rows, scale: Float(scale), seed: 0, learnsA: learnsA)
        self.scale = scale
        set(module.delta.a, a)
        set(module.delta.b, b)
    }

    var module: TrainableAdapter.Module { adapter.modules[0] }

    var a: Matrix { matrix(module.delta.a, rows: module.delta.rank) }
    var b: Matrix { matrix(module.delta.b, rows: module.outputSize) }
    var dA: Matrix { matrix(module.gradient.a, rows: module.delta.rank) }
    var dB: Matrix { matrix(module.gradient.b, rows: module.outputSize) }

    /// Sets dA = s Bᵀ G and dB = s G Aᵀ.
    func setGradients(of g: Matrix) {
        if module.gradient.a.count > 0 { set(module.gradient.a, scale * (b.transposed * g)) }
        set(module.gradient.b, scale * (g * a.transposed))
    }

    func set(_ buffer: Buffer<Float>, _ m: Matrix) {
        _ = buffer.elements.update(from: m.elements.map { Float($0) })
    }

    private func matrix(_ buffer: Buffer<Float>, rows: Int) -> Matrix {
        Matrix(rows, buffer.count / rows, buffer.array.map(Double.init))
    }
}
