public import LorikeetQuant

/// Runs a model forward over the caches of sequences; owns the scratch for it.
///
/// ```swift
/// let pass = InferencePass(model: model, compute: compute)
/// let cache = pass.makeCache(capacity: 1024)
/// let logits = try pass.forward(prompt, cache: cache, adapter: nil, logits: .last)
/// ```
public final class InferencePass {
    /// Which positions' logits a caller wants.
    public enum Logits: Sendable {
        /// The last token's [1, vocabulary].
        case last
        /// Every token's [tokens, vocabulary].
        case all
    }

    /// The model.
    public let model: LlamaModel
    /// What it runs on.
    public let compute: Compute

    // Longer prompts go through in pieces: scratch stays small, and 512 rows already make a product
    // that is bound by arithmetic.
    private let chunk: Int
    private let scratch: ForwardScratch
    private let activations: BlockActivations
    private var rotary: RotaryEmbedding
    // The residual stream [chunk, hidden]
    private let x: Buffer<Float>
    private var output: Buffer<Float>
    // The output projection, as a product takes it.
    private let projection: [LinearWeight]
    private lazy var crossEntropy = CrossEntropy(output: model.output, on: compute)

    /// Allocates scratch for `chunk` tokens at a time.
    public init(model: LlamaModel, compute: Compute, chunk: Int = 512) {
        precondition(chunk > 0, "a chunk of \(chunk) tokens")
        let configuration = model.configuration
        self.model = model
        self.compute = compute
        self.chunk = chunk
        scratch = ForwardScratch(configuration, tokens: chunk, on: compute)
        activations = BlockActivations(configuration, tokens: chunk)
        rotary = RotaryEmbedding(configuration, positions: 0)
        x = Buffer(chunk * configuration.hiddenSize)
        output = Buffer(configuration.vocabularySize)
        projection = [model.output]
    }

    /// An empty cache for a sequence of at most `capacity` tokens (the model's own limit by default).
    public func makeCache(capacity: Int? = nil) -> KVCache {
        KVCache(model.configuration, capacity: capacity, precision: compute.precision)
    }

    /// Appends `tokens` to the sequence in `cache` and returns logits.
    ///
    /// - tokens: at least one; what follows the `cache.count` tokens already there.
    /// - adapter: its low-rank terms, or nil for the base alone.
    /// - Returns: [1 or tokens, vocabulary], valid until the next call.
    /// - Throws: `LorikeetError` for a token outside the vocabulary or a sequence past the cache's
    ///   capacity; the cache is then as it was.
    public func forward(
        _ tokens: [Int32], cache: KVCache, adapter: (any LowRankDeltas)?, logits: Logits = .last
    ) throws -> UnsafeBufferPointer<Float> {
        let (C, V) = (model.configuration.hiddenSize, model.configuration.vocabularySize)
        let wanted = logits == .all ? tokens.count : 1
        var written = 0
        try hiddenStates(tokens, cache: cache, adapter: adapter) { hidden, count, isLast in
            if output.count < wanted * V { output = Buffer(wanted * V) }
            switch logits {
            case .last:
                guard isLast else { return }
                normalize(hidden + (count - 1) * C, count: 1)
                project(count: 1, into: output.pointer)
            case .all:
                normalize(hidden, count: count)
                project(count: count, into: output.pointer + written * V)
                written += count
            }
        }
        return UnsafeBufferPointer(start: output.pointer, count: wanted * V)
    }

    /// Appends `tokens` to the sequence in `cache`; returns log p of each token but the first, given
    /// those before it in `tokens` and in the cache.
    ///
    /// - Throws: as `forward` does.
    public func logProbabilities(
        of tokens: [Int32], cache: KVCache, adapter: (any LowRankDeltas)?
    ) throws -> [Float] {
        var result: [Float] = []
        var begin = 0
        try hiddenStates(tokens, cache: cache, adapter: adapter) { hidden, count, _ in
            normalize(hidden, count: count)
            let targets = (0..<count).filter { begin + $0 + 1 < tokens.count }.map {
                CrossEntropy.Target(row: $0, token: tokens[begin + $0 + 1])
            }
            crossEntropy.forward(scratch.normed.pointer, targets: targets, on: compute) { _, loss in
                result.append(-loss)
            }
            begin += count
        }
        return result
    }

    // Runs the blocks over the tokens, a chunk at a time; `body` gets each chunk's residual stream
    // [count, hidden] before the final norm.
    private func hiddenStates(
        _ tokens: [Int32], cache: KVCache, adapter: (any LowRankDeltas)?,
        _ body: (_ hidden: UnsafePointer<Float>, _ count: Int, _ isLast: Bool) -> Void
    ) throws {
        try check(tokens, cache)
        cache.reserve(tokens.count)
        if cache.reserved > rotary.positions {
            rotary = RotaryEmbedding(model.configuration, positions: cache.reserved)
        }
        for begin in stride(from: 0, to: tokens.count, by: chunk) {
            let piece = tokens[begin..<min(begin + chunk, tokens.count)]
            let batch = Batch(sequences: [.init(start: 0, count: piece.count, cache: cache)])
            scratch.prepare(batch, adapter: adapter, layers: model.blocks.count)
            var pass = ForwardContext(
                batch: batch, adapter: adapter, rotary: rotary, scratch: scratch, compute: compute)
            model.embed(piece, into: x.pointer, on: compute)
            for (layer, block) in model.blocks.enumerated() {
                pass.layer = layer
                block.forward(x.pointer, into: x.pointer, keeping: activations, pass: pass)
            }
            cache.advance(by: piece.count)
            body(x.pointer, piece.count, piece.endIndex == tokens.count)
        }
    }

    private func normalize(_ hidden: UnsafePointer<Float>, count: Int) {
        model.norm.forward(
            hidden, count: count, into: scratch.normed.pointer,
            inverseRMS: scratch.inverseRMS.pointer, on: compute)
    }

    // Logits of the normalized rows.
    private func project(count: Int, into logits: UnsafeMutablePointer<Float>) {
        LinearWeight.multiply(
            projection, scratch.normed.pointer, count: count,
            using: scratch.linear.activations, on: compute
        ) { _ in logits }
    }

    private func check(_ tokens: [Int32], _ cache: KVCache) throws {
        guard !tokens.isEmpty else {
            throw LorikeetError(.invalidArgument, "prompt", "has no tokens")
        }
        try model.check(tokens)
        guard tokens.count <= cache.capacity - cache.count else {
            throw LorikeetError(
                .invalidArgument, "sequence", "longer than its cache",
                expected: "at most \(cache.capacity) tokens",
                got: "\(cache.count) + \(tokens.count)",
                advice: "Shorten the prompt or give the cache a larger capacity.")
        }
    }
}
