import Foundation
import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime
import TestSupport
import Testing

@Suite struct LoftQTests {
    private let compute = Compute(threads: 2, precision: .fp32)

    private func source() throws -> any Checkpoint {
        let path = "Tests/RuntimeTests/Resources/tiny/llama_rope3_gqa_tied"
        return try Checkpoints.open(#require(Fixtures.existing(path)))
    }

    private func matrix(_ checkpoint: any Checkpoint, _ name: String) throws -> Matrix {
        let shape = try checkpoint.shape(of: name)
        let buffer = Buffer<Float>(shape[0] * shape[1])
        try checkpoint.floats(name, into: buffer.pointer)
        return Matrix(shape[0], shape[1], buffer.array.map(Double.init))
    }

    @Test func `the adapter gives back the best part of what quantization lost`() throws {
        let (folder, source) = (try TemporaryFolder(), try source())
        let base = folder["base"]
        try quantize(
            source: source, to: base, options: QuantizeOptions(), replace: false, compute: compute)
        var calls = 0
        let report = try LoftQ(rank: 6, alpha: 9).write(
            source: source, base: base, compute: compute
        ) { done, total in
            calls += 1
            #expect(done == calls && total == 14)
        }
        let quantized = try Checkpoints.open(base)
        let configuration = try ModelConfiguration(quantized.configuration, source: base)
        let adapter = try Adapters.load("\(base)/loftq_init", for: configuration)
        #expect(adapter.moduleCount == 14)
        var (lost, left) = (0.0, 0.0)
        for layer in 0..<configuration.layerCount {
            for module in LinearModule.llama {
                let path = ModulePath(layer: layer, module: module)
                let original = try matrix(source, "\(path).weight")
                let difference = try original - matrix(quantized, "\(path).weight")
                let delta = try #require(adapter.delta(at: path))
                let a = Matrix(6, difference.columns, delta.a.array.map(Double.init))
                let b = Matrix(difference.rows, 6, delta.b.array.map(Double.init))
                let remaining = (difference - 1.5 * (b * a)).norm
                let best = (difference.transposed * difference)
                    .largestEigenvectors(6).values.reduce(0, +)
                let total = difference.norm * difference.norm
                // Eckart and Young's bound, within what a flat spectrum costs the Krylov space.
                #expect(remaining * remaining < total - 0.998 * best)
                lost += total
                left += remaining * remaining
            }
        }
        #expect(abs(report.recovered - (1 - left / lost)) < 1e-4)
        // Again, over what is there.
        try LoftQ(rank: 2).write(source: source, base: base, compute: compute)
    }

    @Test func `a base without it, and a rank that no layer has, are refused`() throws {
        let (folder, source) = (try TemporaryFolder(), try source())
        let base = folder["base"]
        try quantize(
            source: source, to: base, options: QuantizeOptions(), replace: false, compute: compute)
        #expect(throws: LorikeetError.self) {
            try LoftQ(rank: 1000).write(source: source, base: base, compute: compute)
        }
        #expect(!FileManager.default.fileExists(atPath: "\(base)/loftq_init"))
    }
}
