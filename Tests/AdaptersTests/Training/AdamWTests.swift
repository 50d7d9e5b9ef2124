import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime
import TestSupport
import Testing

@Suite struct AdamWTests {
    private let compute = Compute(threads: 1)

    private func adapter() -> TrainableAdapter {
        TrainableAdapter(
            shapes: [
                .init(path: .init(layer: 0, module: .query), inputSize: 50, outputSize: 30)
            ], rank: 4, scale: 1, seed: 1)
    }

    private func step(_ optimizer: AdamW, _ adapter: TrainableAdapter, seed: UInt64) {
        let gradient = adapter.modules[0].gradient
        _ = gradient.a.elements.update(from: noise(gradient.a.count, seed: seed).array)
        _ = gradient.b.elements.update(from: noise(gradient.b.count, seed: seed + 1).array)
        optimizer.step(adapter, learningRateA: 1e-2, learningRateB: 1e-2, compute: compute)
    }

    @Test func `rescaled moments are as if they had been multiplied at once`() {
        let (adapter, reference) = (adapter(), adapter())
        let (optimizer, expected) = (AdamW(adapter), AdamW(reference))
        step(optimizer, adapter, seed: 1)
        step(expected, reference, seed: 1)
        // Twice before the next step: no power of two, so that roundings show.
        for factor in [1.7, 0.3] { optimizer.rescaleGradients(ofModule: 0, a: factor, b: 1) }
        let scale = 1.7 * 0.3
        #expect(optimizer.moments[0][0].scale == scale && optimizer.moments[0][1].scale == 1)
        let moments = expected.moments[0][0]
        for i in 0..<moments.first.count {
            moments.first[i] *= Float(scale)
            moments.second[i] *= Float(scale * scale)
        }
        for seed: UInt64 in [3, 5] {
            step(optimizer, adapter, seed: seed)
            step(expected, reference, seed: seed)
            #expect(optimizer.moments[0][0].scale == 1)
            for (buffer, other) in [
                (optimizer.moments[0][0].first, moments.first),
                (optimizer.moments[0][0].second, moments.second),
                (adapter.modules[0].delta.a, reference.modules[0].delta.a),
                (adapter.modules[0].delta.b, reference.modules[0].delta.b),
            ] {
                #expect(buffer.array == other.array)
            }
        }
    }
}
