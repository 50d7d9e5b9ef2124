public import Foundation
public import LorikeetQuant
public import LorikeetRuntime

/// A base with an adapter's terms in its weights: W' = c ⊙ (W + s B A), row by row.
///
/// W are the weights as the base runs them, dequantized where they are in 4 bits. c is 1 or, for DoRA,
/// m / ‖W + s B A‖ (arXiv 2402.09353, eq. 5). Nothing is merged until a tensor is asked for, and nothing kept.
///
/// Tensors that the adapter brings whole take the place of the base's. Where that unties an output projection
/// from the embedding, there is one more tensor, and config.json says so.
public struct MergedCheckpoint: Checkpoint {
    /// The base.
    public let base: any Checkpoint
    /// The adapter, which need not be prepared over the base.
    public let adapter: Adapter
    /// The base's config.json without its quantization.
    public let configuration: JSON
    private let paths: [String: ModulePath]
    private let unties: Bool
    private let compute: Compute

    /// The base with `adapter` merged into it, which must fit: `Adapters.read` checks that.
    public init(_ base: any Checkpoint, _ adapter: Adapter, on compute: Compute) {
        self.base = base
        self.adapter = adapter
        self.compute = compute
        var configuration = base.configuration
        configuration["quantization_config"] = nil
        let ties = (try? ModelConfiguration(base))?.tiesEmbeddings ?? false
        unties = ties && [Self.embedding, Self.head].contains { adapter.tensors[$0] != nil }
        if unties { configuration["tie_word_embeddings"] = false }
        self.configuration = configuration
        paths = Dictionary(
            uniqueKeysWithValues: adapter.deltas.keys.map { ("\($0).weight", $0) })
    }

    /// Where the base was opened from.
    public var path: String { base.path }

    private static let embedding = "model.embed_tokens.weight"
    private static let head = "lm_head.weight"

    /// What the base calls the tensor: an output projection that it ties is its embedding.
    private func baseName(_ name: String) -> String {
        unties && name == Self.head ? Self.embedding : name
    }

    /// Whether the matrix is made anew, as fp32.
    private func isOwn(_ name: String) -> Bool {
        paths[name] != nil || adapter.tensors[name] != nil
    }

    /// The names of the weights that differ from the base's.
    var changedNames: Set<String> { Set(paths.keys).union(adapter.tensors.keys) }

    /// The base's weights, and the output projection where it is untied.
    public var tensorNames: [String] {
        let names = base.tensorNames
        return unties && !names.contains(Self.head) ? names + [Self.head] : names
    }

    /// The tensor as the base stores it, without what the adapter changes.
    public func tensor(_ name: String) throws -> Tensor { try base.tensor(baseName(name)) }

    /// The tensor's shape.
    public func shape(of name: String) throws -> [Int] { try base.shape(of: baseName(name)) }

    /// How the matrix is held: as fp32 where the adapter changes it.
    public func layout(of name: String) throws -> WeightLayout {
        var layout = try base.layout(of: baseName(name))
        if isOwn(name) {
            (layout.storage, layout.isMapped) = (.floats(bytes: 4), false)
        }
        return layout
    }

    /// The matrix: merged into fp32 where the adapter changes it.
    public func weights(_ name: String, rows: Int, columns: Int) throws -> WeightMatrix {
        guard isOwn(name), try shape(of: name) == [rows, columns] else {
            return try base.weights(baseName(name), rows: rows, columns: columns)
        }
        let merged = Buffer<Float>(uninitialized: rows * columns)
        try floats(name, into: merged.pointer)
        return WeightMatrix(floats: merged, rows: rows, columns: columns)
    }

    /// The tensor as fp32.
    public func floats(_ name: String, into output: UnsafeMutablePointer<Float>) throws {
        if let whole = adapter.tensors[name] {
            output.update(from: whole.values.pointer, count: whole.values.count)
            return
        }
        try base.floats(baseName(name), into: output)
        guard let path = paths[name], let delta = adapter.deltas[path] else { return }
        merge(delta, adapter.magnitudes[path], into: output)
    }

    /// A file of the base.
    public func file(_ name: String) throws -> Data? { try base.file(name) }

    /// - weight: W, and then W' [out, in].
    private func merge(
        _ delta: LowRankDelta, _ magnitude: Buffer<Float>?,
        into weight: UnsafeMutablePointer<Float>
    ) {
        let r = delta.rank
        let (O, I) = (delta.b.count / r, delta.a.count / r)
        compute.pool.split(O) { _, begin, end in
            for o in begin..<end {
                let row = weight + o * I
                for k in 0..<r {
                    let factor = delta.scale * delta.b[o * r + k]
                    let a = delta.a.pointer + k * I
                    for i in 0..<I { row[i] += factor * a[i] }
                }
                guard let magnitude else { continue }
                let square = (0..<I).reduce(0.0) { $0 + Double(row[$1]) * Double(row[$1]) }
                // A row of zeros has no direction: PEFT divides by zero there.
                let c = square > 0 ? magnitude[o] / Float(square.squareRoot()) : 0
                for i in 0..<I { row[i] *= c }
            }
        }
    }
}
