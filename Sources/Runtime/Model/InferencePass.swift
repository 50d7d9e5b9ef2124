public import LorikeetQuant
import QuantKernels

/// Runs a model forward over the caches of sequences; owns the scratch for it.
///
/// ```swift
/// let pass = InferencePass(model: model, compute: compute)
/// let cache = pass.makeCache(capacity: 1024)
/// let logits = try pass.forward(prompt, cache: cache, adapter: nil, logits: .last)
/// ```
public final class InferencePass {
    /// Which positions' logits a caller wants of one sequence.
    public enum Logits: Sendable {
        /// The last token's [1, vocabulary].
        case last
        /// Every token's [tokens, vocabulary].
        case all
    }

    /// The model.
    public let model: DecoderModel
    /// What it runs on.
    public let compute: Compute

    // Longer prompts go through in pieces: scratch stays small, and 512 rows already make a product
    // that is bound by arithmetic.
    private let chunk: Int
    // Rows of logits at a time: as many as share the reading of the output projection well.
    private static let logitRows = 16
    private let scratch: ForwardScratch
    private let activations: BlockActivations
    private var rotary: Rotations
    // The residual stream [chunk, hidden]
    private let x: Buffer<Float>
    // The inputs' last rows of it [inputs, hidden].
    private var last = Buffer<Float>(0)
    private var output: Buffer<Float>
    private lazy var crossEntropy = CrossEntropy(
        output: model.output, cap: model.configuration.logitCap, on: compute)

    /// Allocates scratch for `chunk` tokens at a time.
    public init(model: DecoderModel, compute: Compute, chunk: Int = 512) {
        precondition(chunk > 0, "a chunk of \(chunk) tokens")
        let configuration = model.configuration
        self.model = model
        self.compute = compute
        self.chunk = chunk
        scratch = ForwardScratch(configuration, tokens: chunk, on: compute)
        activations = BlockActivations(configuration, tokens: chunk)
        rotary = Rotations(configuration, positions: 0)
        x = Buffer(chunk * configuration.hiddenSize)
        output = Buffer(configuration.vocabularySize)
    }

    /// An empty cache for a sequence of at most `capacity` tokens (the model's own limit by default).
    public func makeCache(capacity: Int? = nil) -> KVCache {
        KVCache(model.configuration, capacity: capacity, precision: compute.precision)
    }

    /// The terms of `adapter` as inputs take them; nil for the base alone.
    public func pack(_ adapter: (any LowRankDeltas)?) -> PackedDeltas? {
        adapter.map { PackedDeltas($0, for: model.configuration, on: compute) }
    }

    /// Tokens that one sequence goes on with.
    public struct Input: Sendable {
        /// At least one.
        public var tokens: [Int32]
        /// What precedes them; the sequence's alone.
        public var cache: KVCache
        /// Whose low-rank terms they get; nil for the base alone.
        public var adapter: PackedDeltas?
        /// Whether the logits after each of its tokens are wanted, beside the last one's.
        public var wantsEveryLogit = false

        /// `tokens` behind what is in `cache`.
        public init(_ tokens: [Int32], after cache: KVCache, adapter: PackedDeltas? = nil) {
            self.tokens = tokens
            self.cache = cache
            self.adapter = adapter
        }
    }

    /// A token whose log p is asked for, as the one that follows another.
    public struct Target: Sendable {
        /// Which of the input's tokens it follows.
        public var position: Int
        /// The token.
        public var token: Int32

        /// `token`, behind the input's token at `position`.
        public init(position: Int, token: Int32) {
            self.position = position
            self.token = token
        }
    }

    /// Appends `tokens` to the sequence in `cache` and returns logits.
    ///
    /// - tokens: at least one; what follows the `cache.count` tokens already there.
    /// - adapter: its low-rank terms, or nil for the base alone.
    /// - Returns: [1 or tokens, vocabulary], valid until the next call.
    /// - Throws: `LorikeetError` for a token outside the vocabulary or a sequence past the cache's
    ///   capacity; the cache is then as it was.
    public func forward(
        _ tokens: [Int32], cache: KVCache, adapter: PackedDeltas?, logits: Logits = .last
    ) throws -> UnsafeBufferPointer<Float> {
        let inputs = [Input(tokens, after: cache, adapter: adapter)]
        guard logits == .all else { return try forward(inputs) }
        let V = model.configuration.vocabularySize
        var written = 0
        try hiddenStates(inputs) { _, count in
            if written == 0 { reserveOutput(tokens.count) }
            let rows = [OutputRows(adapter?.saved, 0..<count)]
            normalize(x.pointer, rows)
            project(rows, into: output.pointer + written * V)
            written += count
        }
        return UnsafeBufferPointer(start: output.pointer, count: tokens.count * V)
    }

    /// Appends the tokens of several sequences, which share the reading of every weight, and returns the
    /// logits after the last token of each.
    ///
    /// Each has an adapter of its own, of any rank. Where `compute` is batch-invariant, every bit of a
    /// sequence's logits depends on its own tokens and adapter alone: not on the other sequences, nor, in
    /// fp32, on how its tokens were divided among calls.
    ///
    /// - inputs: one or more, each with a cache of its own.
    /// - every: gets the logits [vocabulary] after each token of the inputs that want them, in order; valid
    ///   during the call.
    /// - Returns: [inputs, vocabulary], valid until the next call.
    /// - Throws: `LorikeetError` for an input without tokens, a token outside the vocabulary or a
    ///   sequence past its cache's capacity; the caches are then as they were.
    public func forward(
        _ inputs: [Input],
        every: (_ input: Int, _ token: Int, _ logits: UnsafeBufferPointer<Float>) -> Void = {
            _, _, _ in
        }
    ) throws -> UnsafeBufferPointer<Float> {
        let (C, V) = (model.configuration.hiddenSize, model.configuration.vocabularySize)
        if last.count < inputs.count * C { last = Buffer(inputs.count * C) }
        try hiddenStates(inputs) { pieces, _ in
            for piece in pieces where inputs[piece.input].wantsEveryLogit {
                forEachLogits(of: piece, inputs[piece.input].adapter?.saved) {
                    every(piece.input, $0, $1)
                }
            }
            for piece in pieces where piece.tokens.upperBound == inputs[piece.input].tokens.count {
                let row = piece.start + piece.tokens.count - 1
                (last.pointer + piece.input * C).update(from: x.pointer + row * C, count: C)
            }
        }
        reserveOutput(inputs.count)
        for first in stride(from: 0, to: inputs.count, by: chunk) {
            let part = inputs[first..<min(first + chunk, inputs.count)]
            let rows = outputRows(part.lazy.map { (adapter: $0.adapter, count: 1) })
            normalize(last.pointer + first * C, rows)
            project(rows, into: output.pointer + first * V)
        }
        return UnsafeBufferPointer(start: output.pointer, count: inputs.count * V)
    }

    /// Appends `tokens` to the sequence in `cache`; returns the mean of their last hidden states, after the
    /// final norm [hidden].
    ///
    /// - Throws: as `forward` does.
    public func meanHiddenState(
        of tokens: [Int32], cache: KVCache, adapter: PackedDeltas?
    ) throws -> [Float] {
        let C = model.configuration.hiddenSize
        var sum = [Double](repeating: 0, count: C)
        try hiddenStates([Input(tokens, after: cache, adapter: adapter)]) { _, count in
            normalize(x.pointer, [OutputRows(adapter?.saved, 0..<count)])
            for row in 0..<count {
                for c in 0..<C { sum[c] += Double(scratch.normed[row * C + c]) }
            }
        }
        return sum.map { Float($0 / Double(tokens.count)) }
    }

    /// Appends `tokens` to the sequence in `cache`; returns log p of each token but the first, given
    /// those before it in `tokens` and in the cache.
    ///
    /// - Throws: as `forward` does.
    public func logProbabilities(
        of tokens: [Int32], cache: KVCache, adapter: PackedDeltas?
    ) throws -> [Float] {
        let targets = tokens.indices.dropFirst().map {
            Target(position: $0 - 1, token: tokens[$0])
        }
        return try logProbabilities(
            of: [targets], in: [Input(tokens, after: cache, adapter: adapter)])[0]
    }

    /// Appends the tokens of several sequences; returns log p of each input's targets.
    ///
    /// - targets: the i-th input's, in any order.
    /// - inputs: as `forward` takes them.
    /// - Returns: as many numbers an input as it has targets, in their order.
    /// - Throws: as `forward` does.
    public func logProbabilities(
        of targets: [[Target]], in inputs: [Input]
    ) throws -> [[Float]] {
        precondition(targets.count == inputs.count, "targets of \(targets.count) inputs")
        try model.check(targets.lazy.joined().map(\.token))
        var result = targets.map { [Float](repeating: 0, count: $0.count) }
        try hiddenStates(inputs) { pieces, _ in
            var places: [(input: Int, target: Int)] = []
            var wanted: [CrossEntropy.Target] = []
            for piece in pieces {
                for (index, target) in targets[piece.input].enumerated()
                where piece.tokens.contains(target.position) {
                    let row = piece.start + target.position - piece.tokens.lowerBound
                    places.append((piece.input, index))
                    wanted.append(CrossEntropy.Target(row: row, token: target.token))
                }
            }
            guard !wanted.isEmpty else { return }
            let rows = outputRows(
                pieces.lazy.map { (adapter: inputs[$0.input].adapter, count: $0.tokens.count) })
            normalize(x.pointer, rows)
            for group in rows {
                let members = wanted.indices.filter { group.rows.contains(wanted[$0].row) }
                crossEntropy.forward(
                    scratch.normed.pointer, targets: members.map { wanted[$0] },
                    through: group.saved?.output, on: compute
                ) {
                    let place = places[members[$0]]
                    result[place.input][place.target] = -$1
                }
            }
        }
        return result
    }

    // Some of an input's tokens, in consecutive rows of a chunk.
    private struct Piece {
        let input: Int
        let tokens: Range<Int>
        // The first one's row.
        let start: Int
    }

    // Runs the blocks over the inputs' tokens, a chunk at a time; `body` gets each chunk's pieces and
    // rows, whose residual stream before the final norm is in `x`.
    private func hiddenStates(
        _ inputs: [Input], _ body: (_ pieces: [Piece], _ count: Int) -> Void
    ) throws {
        try check(inputs)
        for input in inputs { input.cache.reserve(input.tokens.count) }
        let positions = inputs.reduce(0) { max($0, $1.cache.reserved) }
        if positions > rotary.whole.positions {
            rotary = Rotations(model.configuration, positions: positions)
        }
        for pieces in chunks(inputs) {
            let batch = Batch(
                sequences: pieces.map {
                    .init(
                        start: $0.start, count: $0.tokens.count, cache: inputs[$0.input].cache)
                })
            scratch.prepare(batch, adapter: nil, modules: model.modules)
            var pass = ForwardContext(
                batch: batch, modules: model.modules,
                adaptedRows: adaptedRows(pieces, of: inputs), rotary: rotary, scratch: scratch,
                compute: compute)
            for piece in pieces {
                model.embed(
                    inputs[piece.input].tokens[piece.tokens],
                    by: inputs[piece.input].adapter?.saved?.embedding,
                    into: x.pointer + piece.start * model.configuration.hiddenSize, on: compute)
            }
            for (layer, block) in model.blocks.enumerated() {
                pass.layer = layer
                block.forward(x.pointer, into: x.pointer, keeping: activations, pass: pass)
            }
            for piece in pieces { inputs[piece.input].cache.advance(by: piece.tokens.count) }
            body(pieces, batch.count)
        }
    }

    // The inputs' tokens end to end, in chunks, those of one adapter together.
    private func chunks(_ inputs: [Input]) -> [[Piece]] {
        var chunks: [[Piece]] = []
        var room = 0
        for index in byAdapter(inputs) {
            let count = inputs[index].tokens.count
            var begin = 0
            while begin < count {
                if room == 0 {
                    chunks.append([])
                    room = chunk
                }
                let end = min(begin + room, count)
                chunks[chunks.count - 1].append(
                    Piece(input: index, tokens: begin..<end, start: chunk - room))
                room -= end - begin
                begin = end
            }
        }
        return chunks
    }

    // The inputs' indices, those of one adapter together, else in their order.
    private func byAdapter(_ inputs: [Input]) -> [Int] {
        var groups: [[Int]] = []
        var places: [ObjectIdentifier?: Int] = [:]
        for (index, input) in inputs.enumerated() {
            let adapter = input.adapter.map { ObjectIdentifier($0) }
            if let place = places[adapter] {
                groups[place].append(index)
            } else {
                places[adapter] = groups.count
                groups.append([index])
            }
        }
        return groups.flatMap { $0 }
    }

    private func adaptedRows(_ pieces: [Piece], of inputs: [Input]) -> [AdaptedRows] {
        var groups: [AdaptedRows] = []
        for piece in pieces {
            guard let adapter = inputs[piece.input].adapter else { continue }
            let end = piece.start + piece.tokens.count
            if let last = groups.last, last.adapter === adapter {
                groups[groups.count - 1].rows = last.rows.lowerBound..<end
            } else {
                groups.append(AdaptedRows(adapter: adapter, rows: piece.start..<end))
            }
        }
        return groups
    }

    // The logits after each of the piece's tokens, a few at a time: all would be a large matrix.
    private func forEachLogits(
        of piece: Piece, _ saved: SavedModules?,
        _ body: (_ token: Int, _ logits: UnsafeBufferPointer<Float>) -> Void
    ) {
        let (C, V) = (model.configuration.hiddenSize, model.configuration.vocabularySize)
        for first in stride(from: 0, to: piece.tokens.count, by: Self.logitRows) {
            let count = min(Self.logitRows, piece.tokens.count - first)
            reserveOutput(count)
            let rows = [OutputRows(saved, 0..<count)]
            normalize(x.pointer + (piece.start + first) * C, rows)
            project(rows, into: output.pointer)
            for row in 0..<count {
                body(
                    piece.tokens.lowerBound + first + row,
                    UnsafeBufferPointer(start: output.pointer + row * V, count: V))
            }
        }
    }

    private func reserveOutput(_ rows: Int) {
        let count = rows * model.configuration.vocabularySize
        if output.count < count { output = Buffer(count) }
    }

    // Consecutive rows with one final norm and one output projection: the base's, or an adapter's own.
    private struct OutputRows {
        let saved: SavedModules?
        var rows: Range<Int>

        init(_ saved: SavedModules?, _ rows: Range<Int>) { (self.saved, self.rows) = (saved, rows) }
    }

    // The rows of so many tokens each, one behind another.
    private func outputRows(
        _ parts: some Sequence<(adapter: PackedDeltas?, count: Int)>
    ) -> [OutputRows] {
        var groups: [OutputRows] = []
        var end = 0
        for (adapter, count) in parts {
            let saved = adapter?.saved
            if let last = groups.last, last.saved === saved {
                groups[groups.count - 1].rows = last.rows.lowerBound..<end + count
            } else {
                groups.append(OutputRows(saved, end..<end + count))
            }
            end += count
        }
        return groups
    }

    private func normalize(_ hidden: UnsafePointer<Float>, _ groups: [OutputRows]) {
        for group in groups {
            let (saved, rows) = (group.saved, group.rows)
            let start = rows.lowerBound * model.configuration.hiddenSize
            (saved?.norm ?? model.norm).forward(
                hidden + start, count: rows.count, into: scratch.normed.pointer + start,
                inverseRMS: scratch.inverseRMS.pointer + rows.lowerBound, on: compute)
        }
    }

    // Logits of the normalized rows.
    private func project(_ groups: [OutputRows], into logits: UnsafeMutablePointer<Float>) {
        let (C, V) = (model.configuration.hiddenSize, model.configuration.vocabularySize)
        for group in groups {
            let (saved, rows) = (group.saved, group.rows)
            LinearWeight.multiply(
                [saved?.output ?? model.output], scratch.normed.pointer + rows.lowerBound * C,
                count: rows.count, using: scratch.linear.activations, on: compute
            ) { _ in logits + rows.lowerBound * V }
        }
        guard let cap = model.configuration.logitCap else { return }
        let count = groups.last?.rows.upperBound ?? 0
        compute.pool.split(count * V, by: 1024) { _, begin, end in
            compute.kernels.soft_cap(logits + begin, end - begin, 1, cap)
        }
    }

    private func check(_ inputs: [Input]) throws {
        precondition(
            Set(inputs.map { ObjectIdentifier($0.cache) }).count == inputs.count,
            "two inputs with one cache")
        for input in inputs {
            guard !input.tokens.isEmpty else {
                throw LorikeetError(.invalidArgument, "prompt", "has no tokens")
            }
            try model.check(input.tokens)
            guard input.tokens.count <= input.cache.capacity - input.cache.count else {
                throw LorikeetError(
                    .invalidArgument, "sequence", "longer than its cache",
                    expected: "at most \(input.cache.capacity) tokens",
                    got: "\(input.cache.count) + \(input.tokens.count)",
                    advice: "Shorten the prompt or give the cache a larger capacity.")
            }
        }
    }
}
