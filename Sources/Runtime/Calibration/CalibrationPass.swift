package import LorikeetQuant
import QuantKernels

/// Windows of a text on their way through a decoder, one block at a time: what calibration measures inputs on.
///
/// Only one block's weights are in memory. Either the float model runs alone, for the mean squares of its layers'
/// inputs; or beside it runs the model that is being quantized, whose layers read what the quantized ones before
/// them made, those of the same block included.
package final class CalibrationPass {
    /// The dimensions.
    package let configuration: ModelConfiguration
    private let checkpoint: any Checkpoint
    private let compute: Compute
    private let progress: () throws -> Void
    private let modules: BlockModules

    /// Tokens that go through a layer at once.
    private struct Chunk {
        let start: Int
        let batch: Batch
    }
    private let chunks: [Chunk]
    /// Chunks that `meanSquares` or `quantize` report for one block.
    package var stepsOfBlock: (scales: Int, gptq: Int) {
        (chunks.count, chunks.count * BlockProduct.allCases.count)
    }

    private let scratch: ForwardScratch
    private let kept: BlockActivations
    private let rotary: Rotations
    /// The float model's residual stream [tokens, hidden].
    private let floats: Buffer<Float>
    /// The quantized model's, where it runs [tokens, hidden].
    private let quantized: Buffer<Float>
    /// What the quantized model's output projections read, as halves, until they are quantized
    /// [tokens, the wider of attention's and feed-forward's].
    private let held: Buffer<UInt16>
    /// Of one chunk [tokens, hidden].
    private let target: Buffer<Float>

    /// The windows' embeddings.
    ///
    /// - Parameters:
    ///   - checkpoint: the float model.
    ///   - windows: token ids; each is a sequence of its own.
    ///   - runsQuantized: whether there is to be a quantized model beside the float one.
    ///   - compute: what to run on.
    ///   - progress: called after every chunk of every product; what it throws ends the work.
    /// - Throws: `.unsupported` for what is no decoder; `.invalidArgument` for a token outside the vocabulary.
    package init(
        _ checkpoint: any Checkpoint, windows: [[Int32]], runsQuantized: Bool, on compute: Compute,
        progress: @escaping () throws -> Void = {}
    ) throws {
        configuration = try ModelConfiguration(checkpoint)
        modules = configuration.modules
        self.checkpoint = checkpoint
        self.compute = compute
        self.progress = progress
        chunks = Self.chunks(of: windows.map(\.count))
        let tokens = windows.reduce(0) { $0 + $1.count }
        let most = chunks.map(\.batch.count).max() ?? 0
        let C = configuration.hiddenSize
        scratch = ForwardScratch(configuration, tokens: most, on: compute)
        kept = BlockActivations(configuration, tokens: most)
        rotary = Rotations(configuration, positions: windows.map(\.count).max() ?? 0)
        floats = Buffer(tokens * C)
        let width = max(configuration.queryWidth, configuration.intermediateSize)
        quantized = Buffer(runsQuantized ? tokens * C : 0)
        held = Buffer(runsQuantized ? tokens * width : 0)
        target = Buffer(runsQuantized ? most * C : 0)
        try embed(windows.flatMap { $0 })
        if runsQuantized { quantized.pointer.update(from: floats.pointer, count: tokens * C) }
    }

    // Tokens of a chunk: enough for products that arithmetic bounds, few enough for the cache.
    private static let chunkTokens = 2048

    private static func chunks(of counts: [Int]) -> [Chunk] {
        var chunks: [Chunk] = []
        var sequences: [Batch.Sequence] = []
        var (start, rows) = (0, 0)
        func close() {
            guard rows > 0 else { return }
            chunks.append(Chunk(start: start, batch: Batch(sequences: sequences)))
            start += rows
            (sequences, rows) = ([], 0)
        }
        for count in counts {
            if rows + count > chunkTokens { close() }
            sequences.append(.init(start: rows, count: count, cache: nil))
            rows += count
        }
        close()
        return chunks
    }

    private func embed(_ tokens: [Int32]) throws {
        let (C, V) = (configuration.hiddenSize, configuration.vocabularySize)
        if let token = tokens.first(where: { $0 < 0 || $0 >= V }) {
            throw LorikeetError(
                .invalidArgument, "token \(token)", "outside the model's vocabulary",
                expected: "0 ..< \(V)")
        }
        let embedding = try checkpoint.weights("model.embed_tokens.weight", rows: V, columns: C)
        for (row, token) in tokens.enumerated() {
            embedding.row(Int(token), into: floats.pointer + row * C, on: compute)
        }
        if configuration.embeddingScale != 1 {
            compute.kernels.scale(configuration.embeddingScale, floats.count, floats.pointer)
        }
    }

    /// The weights of a block's layers in floats.
    package func weights(ofBlock layer: Int) throws -> [ModulePath: WeightMatrix] {
        var weights: [ModulePath: WeightMatrix] = [:]
        for entry in modules.entries {
            let path = ModulePath(layer: layer, module: entry.module)
            weights[path] = try checkpoint.weights(
                "\(path).weight", rows: entry.outputs, columns: entry.inputs)
        }
        return weights
    }

    private func block(
        _ layer: Int, _ weights: [ModulePath: LinearWeight]
    ) throws -> DecoderBlock {
        try DecoderBlock(configuration: configuration, reader: reader(weights), layer: layer)
    }

    private func reader(_ weights: [ModulePath: LinearWeight]) -> DecoderReader {
        func stray(_ name: String) -> Never { preconditionFailure("a block reads \(name)") }
        return DecoderReader(
            configuration, weights: { name, _, _ in stray(name) },
            linear: { name, _, _, _ in
                guard
                    let weight = ModulePath(name.dropLast(".weight".count)).flatMap({ weights[$0] })
                else { stray(name) }
                return weight
            },
            vector: { [checkpoint] in try checkpoint.vector($0, count: $1) })
    }

    private func context(
        _ chunk: Chunk, _ layer: Int, observer: InputObserver? = nil
    ) -> ForwardContext {
        scratch.prepare(chunk.batch, adapter: nil, modules: modules)
        var context = ForwardContext(
            batch: chunk.batch, modules: modules, adapter: nil, rotary: rotary, scratch: scratch,
            compute: compute, observer: observer)
        context.layer = layer
        return context
    }
}

// MARK: - The float model alone

extension CalibrationPass {
    /// Runs the float model's block `layer`, the next one.
    package func run(block layer: Int) throws {
        let block = try block(layer, linears(weights(ofBlock: layer)))
        for chunk in chunks {
            let x = floats.pointer + chunk.start * configuration.hiddenSize
            block.forward(x, into: x, keeping: kept, pass: context(chunk, layer))
            try progress()
        }
    }

    /// The float model's hidden states after its final norm, as halves [tokens, hidden], once all blocks have run.
    package func normedStates() throws -> Buffer<UInt16> {
        let C = configuration.hiddenSize
        let norm = try reader([:]).norm("model.norm")
        let states = Buffer<UInt16>(uninitialized: floats.count)
        for chunk in chunks {
            let normed = scratch.normed.pointer
            norm.forward(
                floats.pointer + chunk.start * C, count: chunk.batch.count, into: normed,
                inverseRMS: scratch.inverseRMS.pointer, on: compute)
            compute.kernels.saturated_f16_from_f32(
                normed, chunk.batch.count * C, states.pointer + chunk.start * C)
        }
        return states
    }

    /// Runs the float model's block `layer`, the next one, and measures what its layers read.
    ///
    /// - weights: the block's.
    /// - Returns: the mean square of each input channel, by layer.
    package func meanSquares(
        ofBlock layer: Int, _ weights: [ModulePath: WeightMatrix]
    ) throws -> [ModulePath: Buffer<Float>] {
        let block = try block(layer, linears(weights))
        var sums: [ModulePath: Buffer<Float>] = [:]
        var tokens = 0
        for chunk in chunks {
            let pass = context(chunk, layer) { [compute] paths, x, count, width in
                let sum = sums[paths[0]] ?? Buffer<Float>(width)
                for path in paths { sums[path] = sum }
                compute.pool.split(width, by: 64) { _, begin, end in
                    for row in 0..<count {
                        let x = x + row * width
                        for c in begin..<end { sum[c] += x[c] * x[c] }
                    }
                }
            }
            let x = floats.pointer + chunk.start * configuration.hiddenSize
            block.forward(x, into: x, keeping: kept, pass: pass)
            tokens += chunk.batch.count
            try progress()
        }
        // Layers that read one input share a sum.
        for place in modules.products.map(\.lowerBound) {
            let path = ModulePath(layer: layer, module: modules.entries[place].module)
            guard let sum = sums[path] else { continue }
            compute.kernels.scale(1 / Float(tokens), sum.count, sum.pointer)
        }
        return sums
    }

    /// The float model's layers as products read them: in 8 bits where arithmetic is in integers.
    private func linears(
        _ weights: [ModulePath: WeightMatrix]
    ) -> [ModulePath: LinearWeight] {
        weights.mapValues { LinearWeight($0, roundsFloats: true, on: compute) }
    }
}

// MARK: - In sequence

extension CalibrationPass {
    /// Quantizes the layers of block `layer`, the next one, in the order of a pass, and runs both models through it.
    ///
    /// A layer's inputs x are those that the quantized layers before it make. Its moments are H = E[x xᵀ] and
    /// G = E[(t − W x) xᵀ], what is to be added to W so that W x is nearest to t: for the layers that read a
    /// sublayer's input t is what the float model has there, W x_float; for those that add to the residual stream
    /// all that the quantized stream then lacks of the float one.
    ///
    /// - weights: the block's in floats.
    /// - solve: gets the layers of a product, and E[x xᵀ] with, for a sublayer's inputs,
    ///   E[(x_float − x) xᵀ], or E[t xᵀ] for its output; returns the weights of those it quantized.
    package func quantize(
        block layer: Int, _ weights: [ModulePath: WeightMatrix],
        solve: (_ paths: [ModulePath], _ moments: InputMoments) throws -> [ModulePath: WeightMatrix]
    ) throws {
        let float = try block(layer, linears(weights))
        var done = linears(weights)
        for product in BlockProduct.allCases {
            let entries = modules.products[product.rawValue].map { modules.entries[$0] }
            let paths = entries.map { ModulePath(layer: layer, module: $0.module) }
            let current = try block(layer, done)
            let isOutput = product == .attentionOutput || product == .feedForwardOutput
            let moments = InputMoments(
                columns: entries[0].inputs, rows: isOutput ? entries[0].outputs : entries[0].inputs,
                isOfOutputs: isOutput, on: compute)
            for chunk in chunks {
                let pass = context(chunk, layer)
                switch product {
                case .attentionInputs:
                    measureInputs(moments, chunk, float.attention.norm)
                case .feedForwardInputs:
                    measureInputs(moments, chunk, float.feedForward.norm)
                case .attentionOutput:
                    measureAttentionOutput(moments, chunk, float.attention, current.attention, pass)
                case .feedForwardOutput:
                    measureFeedForwardOutput(
                        moments, chunk, float.feedForward, current.feedForward, pass)
                }
                try progress()
            }
            moments.finish()
            for (path, weight) in try solve(paths, moments) {
                done[path] = LinearWeight(weight, on: compute)
            }
            if isOutput { try addOutput(product, layer, block(layer, done)) }
        }
    }

    private func measureInputs(_ moments: InputMoments, _ chunk: Chunk, _ norm: RMSNorm) {
        let (n, C) = (chunk.batch.count, configuration.hiddenSize)
        let (difference, normed) = (target.pointer, scratch.normed.pointer)
        let rho = scratch.inverseRMS.pointer
        norm.forward(
            floats.pointer + chunk.start * C, count: n, into: difference, inverseRMS: rho,
            on: compute)
        norm.forward(
            quantized.pointer + chunk.start * C, count: n, into: normed, inverseRMS: rho,
            on: compute)
        compute.kernels.axpy(-1, normed, n * C, difference)
        moments.add(normed, difference, count: n)
    }

    private func measureAttentionOutput(
        _ moments: InputMoments, _ chunk: Chunk, _ float: AttentionSublayer,
        _ current: AttentionSublayer, _ pass: ForwardContext
    ) {
        let x = floats.pointer + chunk.start * configuration.hiddenSize
        float.attend(x, keeping: kept, pass: pass)
        float.addOutput(to: x, keeping: kept, pass: pass)
        setTarget(chunk, float.output, result: kept.attentionResult)
        current.attend(
            quantized.pointer + chunk.start * configuration.hiddenSize, keeping: kept, pass: pass)
        hold(kept.attended, chunk, width: configuration.queryWidth)
        moments.add(kept.attended.pointer, target.pointer, count: chunk.batch.count)
    }

    private func measureFeedForwardOutput(
        _ moments: InputMoments, _ chunk: Chunk, _ float: FeedForwardSublayer,
        _ current: FeedForwardSublayer, _ pass: ForwardContext
    ) {
        let x = floats.pointer + chunk.start * configuration.hiddenSize
        float.activate(x, keeping: kept, pass: pass)
        float.addOutput(to: x, keeping: kept, pass: pass)
        setTarget(chunk, float.down, result: kept.feedForwardResult)
        current.activate(
            quantized.pointer + chunk.start * configuration.hiddenSize, keeping: kept, pass: pass)
        hold(scratch.h, chunk, width: configuration.intermediateSize)
        moments.add(scratch.h.pointer, target.pointer, count: chunk.batch.count)
    }

    /// t of an output projection: what the float stream has and the quantized one does not yet; where the result is
    /// normalized first, the float model's result.
    private func setTarget(_ chunk: Chunk, _ linear: Linear, result: Buffer<Float>) {
        let (n, C) = (chunk.batch.count, configuration.hiddenSize)
        let t = target.pointer
        if configuration.normalizesResults {
            t.update(from: result.pointer, count: n * C)
        } else {
            t.update(from: floats.pointer + chunk.start * C, count: n * C)
            compute.kernels.axpy(-1, quantized.pointer + chunk.start * C, n * C, t)
        }
        guard let bias = linear.bias else { return }
        for row in 0..<n { compute.kernels.axpy(-1, bias.pointer, C, t + row * C) }
    }

    /// The quantized model's output projection on what was held.
    private func addOutput(_ product: BlockProduct, _ layer: Int, _ block: DecoderBlock) throws {
        for chunk in chunks {
            let pass = context(chunk, layer)
            let x = quantized.pointer + chunk.start * configuration.hiddenSize
            if product == .attentionOutput {
                release(chunk, into: kept.attended, width: configuration.queryWidth)
                block.attention.addOutput(to: x, keeping: kept, pass: pass)
            } else {
                release(chunk, into: scratch.h, width: configuration.intermediateSize)
                block.feedForward.addOutput(to: x, keeping: kept, pass: pass)
            }
        }
    }

    private func hold(_ x: Buffer<Float>, _ chunk: Chunk, width: Int) {
        let place = held.pointer + chunk.start * width
        compute.pool.split(chunk.batch.count * width, by: 4096) { _, begin, end in
            compute.kernels.saturated_f16_from_f32(x.pointer + begin, end - begin, place + begin)
        }
    }

    private func release(_ chunk: Chunk, into x: Buffer<Float>, width: Int) {
        let place = held.pointer + chunk.start * width
        compute.pool.split(chunk.batch.count * width, by: 4096) { _, begin, end in
            compute.kernels.f32_from_f16(place + begin, end - begin, x.pointer + begin)
        }
    }
}
