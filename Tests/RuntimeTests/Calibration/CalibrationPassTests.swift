import Foundation
import LorikeetQuant
import LorikeetRuntime
import TestSupport
import Testing

/// What calibration measures, against a plain pass and plain sums.
@Suite struct CalibrationPassTests {
    private let compute = Compute(threads: 2, precision: .fp32)

    private func checkpoint(_ name: String) throws -> any Checkpoint {
        try Checkpoints.open(modelResource("tiny/\(name)").path)
    }

    private let windows: [[Int32]] = {
        var random = SeededGenerator(seed: 2)
        return [40, 17, 1, 64].map { count in
            (0..<count).map { _ in Int32(random.uniform() * 96) }
        }
    }()

    @Test(arguments: tinyDecoders)
    func `mean squares are those of the inputs in a plain pass`(name: String) throws {
        let source = try checkpoint(name)
        let model = try DecoderModel(checkpoint: source, on: compute)
        let plain = TrainingPass(
            model: model, compute: compute, maximumTokens: 64, recomputesBlocks: false)
        var expected: [ModulePath: [Double]] = [:]
        for window in windows {
            try plain.observeInputs([TrainingRow(inputIDs: window, labels: window)]) {
                paths, x, count, width in
                for path in paths {
                    var sum = expected[path] ?? Array(repeating: 0, count: width)
                    for i in 0..<count * width { sum[i % width] += Double(x[i]) * Double(x[i]) }
                    expected[path] = sum
                }
            }
        }
        var calls = 0
        let pass = try CalibrationPass(
            source, windows: windows, runsQuantized: false, on: compute
        ) { calls += 1 }
        let tokens = Double(windows.map(\.count).reduce(0, +))
        for layer in 0..<pass.configuration.layerCount {
            let measured = try pass.meanSquares(ofBlock: layer, pass.weights(ofBlock: layer))
            #expect(measured.count == pass.configuration.modules.all.count)
            for (path, squares) in measured {
                let means = try #require(expected[path]).map { $0 / tokens }
                // Sums of 122 squares in fp32, of inputs that differ by fp32's rounding.
                GradientCheck.expectClose(squares.elements, means, within: 1e-5, "\(path)")
            }
        }
        #expect(calls == pass.stepsOfBlock.scales * pass.configuration.layerCount)
    }

    @Test func `moments are E x xᵀ and E y xᵀ`() {
        // Wider than a thread's tile, in two parts.
        let (columns, rows, counts) = (200, 7, [33, 5])
        let tokens = counts.reduce(0, +)
        let (x, y) = (noise(tokens * columns, seed: 1), noise(tokens * rows, seed: 2))
        let moments = InputMoments(columns: columns, rows: rows, isOfOutputs: true, on: compute)
        var start = 0
        for count in counts {
            moments.add(x.pointer + start * columns, y.pointer + start * rows, count: count)
            start += count
        }
        moments.finish()
        func mean(_ a: Buffer<Float>, _ i: Int, _ n: Int, _ j: Int) -> Double {
            (0..<tokens).reduce(0) {
                $0 + Double(a[$1 * n + i]) * Double(x[$1 * columns + j])
            } / Double(tokens)
        }
        let gram = (0..<columns * columns).map { mean(x, $0 / columns, columns, $0 % columns) }
        let cross = (0..<rows * columns).map { mean(y, $0 / columns, rows, $0 % columns) }
        // 38 products in fp32.
        GradientCheck.expectClose(moments.gram.elements, gram, within: 1e-5)
        GradientCheck.expectClose(moments.cross.elements, cross, within: 1e-5)
        for i in 0..<columns {
            for j in 0..<i {
                #expect(moments.gram[i * columns + j] == moments.gram[j * columns + i])
            }
        }
    }

    @Test(arguments: tinyDecoders)
    func `layers that stay as they are leave nothing to make up for`(name: String) throws {
        let pass = try CalibrationPass(
            checkpoint(name), windows: windows, runsQuantized: true, on: compute)
        for layer in 0..<pass.configuration.layerCount {
            let weights = try pass.weights(ofBlock: layer)
            var seen: Set<ModulePath> = []
            try pass.quantize(block: layer, weights) { paths, moments in
                seen.formUnion(paths)
                #expect(moments.columns == weights[paths[0]]?.columns)
                guard !moments.isOfOutputs else {
                    // E[t xᵀ] = W H, but for the halves that x is held as between two products.
                    let (n, rows) = (moments.columns, moments.rows)
                    let w = try #require(weights[paths[0]]).dequantizedFloat32(on: compute)
                    let product = (0..<rows * n).map { index in
                        (0..<n).reduce(0.0) {
                            $0 + Double(w[index / n * n + $1])
                                * Double(moments.gram[$1 * n + index % n])
                        }
                    }
                    GradientCheck.expectClose(moments.cross.elements, product, within: 2e-3)
                    return [:]
                }
                let worst = moments.cross.elements.map(abs).max() ?? 0
                let largest = moments.gram.elements.map(abs).max() ?? 0
                #expect(worst <= 2e-3 * max(1, largest))
                return [:]
            }
            #expect(seen == Set(weights.keys))
        }
    }

    @Test(arguments: tinyDecoders)
    func `kept states give the model's predictions`(name: String) throws {
        let source = try checkpoint(name)
        let model = try DecoderModel(checkpoint: source, on: compute)
        var done: [Int] = []
        let reference = try ReferenceStates(source, windows: windows, on: compute) {
            done.append($0)
            #expect($1 == model.configuration.layerCount)
        }
        #expect(done == Array(1...model.configuration.layerCount))
        // An adapter that changes nothing: the model's own distance to itself.
        let pass = DistillationPass(
            TrainingPass(
                model: model, compute: compute, maximumTokens: 64, recomputesBlocks: false),
            reference: reference)
        for window in windows {
            let row = TrainingRow(inputIDs: window, labels: window)
            let (loss, targets) = try pass.evaluate([row], adapter: NoDeltas())
            #expect(targets == window.count - 1)
            // Logits near 10 of states rounded to halves are off by 0.005: KL goes with the square of that.
            #expect(loss >= -1e-4 && loss <= 1e-4 * Double(max(targets, 1)))
        }
    }

    @Test func `a token outside the vocabulary, and a model that is no decoder, are refused`()
        throws
    {
        let decoder = try checkpoint("llama_plain_mha")
        #expect(throws: LorikeetError.self) {
            try CalibrationPass(
                decoder, windows: [[1, 100_000]], runsQuantized: false, on: compute)
        }
        let encoder = try checkpoint("bert_cls")
        #expect(throws: LorikeetError.self) {
            try CalibrationPass(encoder, windows: [[1, 2]], runsQuantized: false, on: compute)
        }
    }
}
