import Foundation
import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime
import OrderedCollections
import TestSupport

/// The tiny Llama of the tests, in floats and in NF4, and adapters over it.
struct SmallMerge {
    static let path = Fixtures.root.appending(
        path: "Tests/RuntimeTests/Resources/tiny/llama_rope3_gqa_tied"
    ).path(percentEncoded: false)

    let compute = Compute(threads: 2, precision: .fp32)
    let folder = try? TemporaryFolder()

    /// The model in floats.
    func base() throws -> any Checkpoint { try Checkpoints.open(Self.path) }

    /// The model in NF4.
    func quantizedBase() throws -> any Checkpoint {
        let path = (folder?.path ?? "") + "/nf4"
        if !FileManager.default.fileExists(atPath: path) {
            try quantize(
                source: base(), to: path, options: QuantizeOptions(), replace: false,
                compute: compute)
        }
        return try Checkpoints.open(path)
    }

    /// An adapter of every module whose B has elements of about `size`; DoRA's magnitudes are 1, 1.01, ….
    func adapter(size: Float, isDoRA: Bool = false, usesRSLoRA: Bool = false) throws -> Adapter {
        let model = try ModelConfiguration(base())
        var configuration = AdapterConfiguration(
            rank: 4, alpha: 8, usesRSLoRA: usesRSLoRA, usesDoRA: isDoRA)
        configuration.rankPattern = ["down_proj": 2]
        configuration.alphaPattern = ["layers.1.self_attn.q_proj": 3]
        let paths = (0..<model.layerCount).flatMap { layer in
            LinearModule.llama.map { ModulePath(layer: layer, module: $0) }
        }
        let terms = try configuration.terms(at: paths, source: "test")
        var deltas: [ModulePath: LowRankDelta] = [:]
        var magnitudes: [ModulePath: Buffer<Float>] = [:]
        for (index, path) in paths.enumerated() {
            let (outputs, inputs) = path.module.shape(in: model)
            guard let term = terms[path] else { continue }
            let b = noise(outputs * term.rank, seed: UInt64(2 * index + 1))
            for i in 0..<b.count { b[i] *= size }
            deltas[path] = LowRankDelta(
                a: noise(inputs * term.rank, seed: UInt64(2 * index + 2)), b: b, rank: term.rank,
                scale: term.scale)
            if isDoRA { magnitudes[path] = Buffer((0..<outputs).map { 1 + Float($0) / 100 }) }
        }
        // Through files, as a user's comes.
        let path = (folder?.path ?? "") + "/adapter-\(size)-\(isDoRA)-\(usesRSLoRA)"
        try Adapters.writePeftFolder(
            at: path, configuration: configuration, deltas: deltas, magnitudes: magnitudes,
            replace: true)
        return try Adapters.read(path, for: model, name: "test")
    }
}

/// The elements of a checkpoint's tensor.
func elements(_ name: String, of checkpoint: any Checkpoint) throws -> [Float] {
    let buffer = Buffer<Float>(try checkpoint.shape(of: name).reduce(1, *))
    try checkpoint.floats(name, into: buffer.pointer)
    return buffer.array
}
