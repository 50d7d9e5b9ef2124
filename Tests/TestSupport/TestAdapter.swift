import Foundation
import LorikeetQuant
public import LorikeetRuntime

/// Low-rank factors with gradients for any set of layers: an adapter without a method.
public final class TestAdapter: TrainableLowRankDeltas {
    /// The terms.
    public let deltas: [ModulePath: LowRankDelta]
    /// Where their gradients go.
    public let gradients: [ModulePath: LowRankGradient]

    /// Wraps `deltas`, all of which learn.
    public init(_ deltas: [ModulePath: LowRankDelta]) {
        self.deltas = deltas
        gradients = deltas.mapValues {
            LowRankGradient(
                a: Buffer($0.a.count), b: Buffer($0.b.count),
                outputScale: $0.outputScale.map { Buffer($0.count) })
        }
    }

    /// Reads `NAME.lora_A.weight`, `NAME.lora_B.weight` and, where there is one, `NAME.output_scale` of every
    /// layer that `file` has.
    public convenience init(_ file: GoldenFile, scale: Float) {
        var deltas: [ModulePath: LowRankDelta] = [:]
        for name in file.names {
            guard let end = name.range(of: ".lora_A.weight")?.lowerBound,
                let path = ModulePath(name[..<end])
            else { continue }
            deltas[path] = LowRankDelta(
                a: Buffer(file.floats(name)), b: Buffer(file.floats("\(path).lora_B.weight")),
                rank: file.shape(name)[0], scale: scale,
                outputScale: file.contains("\(path).output_scale")
                    ? Buffer(file.floats("\(path).output_scale")) : nil)
        }
        self.init(deltas)
    }

    /// The term of a layer.
    public func delta(at path: ModulePath) -> LowRankDelta? { deltas[path] }

    /// The gradients of a layer.
    public func gradient(at path: ModulePath) -> LowRankGradient? { gradients[path] }

    /// Zeroes every gradient.
    public func zeroGradients() {
        for gradient in gradients.values {
            gradient.a.elements.update(repeating: 0)
            gradient.b.elements.update(repeating: 0)
            gradient.outputScale?.elements.update(repeating: 0)
        }
    }
}
