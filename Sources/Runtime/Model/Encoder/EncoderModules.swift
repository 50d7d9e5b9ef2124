extension EncoderConfiguration {
    /// Where the blocks are: `bert.encoder.layer`.
    private var blocks: String { "\(prefix)encoder.layer" }

    private func projection(_ name: String) -> LinearModule {
        let suffix = architecture == .bert ? "" : "_proj"
        return LinearModule(blocks: blocks, path: "attention.self.\(name)\(suffix)")
    }

    /// Queries, and all that follow, [hidden, hidden] but for the feed-forward layer's.
    var query: LinearModule { projection("query") }
    var key: LinearModule { projection("key") }
    var value: LinearModule { projection("value") }
    /// Attention's output.
    var output: LinearModule { LinearModule(blocks: blocks, path: "attention.output.dense") }
    /// The feed-forward layer's first half [intermediate, hidden].
    var up: LinearModule { LinearModule(blocks: blocks, path: "intermediate.dense") }
    /// Its second [hidden, intermediate].
    var down: LinearModule { LinearModule(blocks: blocks, path: "output.dense") }

    /// The linear layers of the blocks, in the order of a pass.
    public var modules: BlockModules {
        let (C, I) = (hiddenSize, intermediateSize)
        return BlockModules(
            layerCount: layerCount,
            products: [
                [query, key, value].map { .init($0, outputs: C, inputs: C) },
                [.init(output, outputs: C, inputs: C)], [.init(up, outputs: I, inputs: C)],
                [.init(down, outputs: C, inputs: I)],
            ])
    }
}
