import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime
import Testing

/// The paper's point: steps do not depend on how the product is factored, Adam's moments included.
@Suite struct LoRARITETests {
    private let compute = Compute(threads: 2)

    /// Products after each of `steps` steps towards a target.
    private func products(
        a: Matrix, b: Matrix, target: Matrix, steps: Int, method: some Method
    ) -> [Matrix] {
        let layer = OneLayer(a: a, b: b)
        let optimizer = method.makeOptimizer(for: layer.adapter, options: AdamW.Options())
        return (0..<steps).map { _ in
            layer.setGradients(of: 0.01 * (layer.b * layer.a - target))
            optimizer.step(
                layer.adapter, learningRateA: 0.02, learningRateB: 0.02, compute: compute)
            return layer.b * layer.a
        }
    }

    @Test(arguments: [1, 4, 8])
    func `ten steps from any factors of a product give the same products`(rank: Int) {
        var generator = SeededGenerator(seed: 21)
        let a = Matrix.random(rank, 24, &generator)
        let b = Matrix.random(20, rank, &generator)
        let q = Matrix.random(rank, rank, &generator)
        let target = Matrix.random(20, 24, &generator)
        let one = products(a: a, b: b, target: target, steps: 10, method: LoRARITE())
        let other = products(
            a: q.transposed * a, b: b * q.inverse.transposed, target: target, steps: 10,
            method: LoRARITE())
        for (first, second) in zip(one, other) {
            // fp32 factors and moments, 6e-8 each, times Q's condition of up to 100.
            #expect((first - second).norm < 1e-4 * (first - b * a).norm)
        }
        // The test can fail: AdamW's first step depends on the factors.
        guard rank > 1 else { return }
        let plain = products(a: a, b: b, target: target, steps: 1, method: LoRA())
        let plainOther = products(
            a: q.transposed * a, b: b * q.inverse.transposed, target: target, steps: 1,
            method: LoRA())
        #expect((plain[0] - plainOther[0]).norm > 0.1 * (plain[0] - b * a).norm)
    }

    @Test func `a gradient that is far too large is left out`() {
        var generator = SeededGenerator(seed: 22)
        let layer = OneLayer(
            a: Matrix.random(4, 24, &generator), b: Matrix.random(20, 4, &generator))
        let (a, b) = (layer.a, layer.b)
        let optimizer = LoRARITE().makeOptimizer(for: layer.adapter, options: AdamW.Options())
        layer.setGradients(of: 1e6 * Matrix.random(20, 24, &generator))
        optimizer.step(layer.adapter, learningRateA: 1, learningRateB: 1, compute: compute)
        #expect(layer.a == a && layer.b == b)
    }
}
