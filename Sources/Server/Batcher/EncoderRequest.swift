public import LorikeetAdapters
public import LorikeetRuntime

/// What a batcher is asked for.
public struct EncoderRequest: Sendable {
    /// What is wanted of each text.
    public enum Output: Sendable, Hashable {
        /// Its vector.
        case vectors
        /// The outputs of a head: logits of the classes, or the one number.
        case logits
    }

    /// The texts, and pairs of texts; at least one.
    public var rows: [TrainingRow]
    /// What is wanted of each.
    public var output: Output
    /// What the model runs with; nil for the base alone.
    public var adapter: EncoderAdapter?

    /// Asks for `output` of `rows`.
    public init(_ rows: [TrainingRow], for output: Output, adapter: EncoderAdapter? = nil) {
        (self.rows, self.output, self.adapter) = (rows, output, adapter)
    }
}

/// What a batcher makes of a request.
public struct EncoderOutputs: Sendable {
    /// A vector, or the outputs of a head, for each row.
    public var values: [[Float]]
    /// Seconds between the request's arrival and its first pass.
    public var queueSeconds: Double
}

/// An adapter as a batcher uses it: the version that a request began with, whatever is loaded meanwhile.
public struct EncoderAdapter: Sendable {
    /// Equal for equal contents and scales, and for these alone.
    public var key: String
    /// The low-rank terms, and perhaps a head.
    public var deltas: any LowRankDeltas
    /// What is judged with it, by its own head or the model's; nil where there is none.
    public var task: SequenceTask?
    // Held until the request is over.
    private let owner: (any Sendable)?

    /// An adapter whose content `key` identifies.
    ///
    /// - owner: what must live until the request is over.
    public init(
        key: String, deltas: any LowRankDeltas, task: SequenceTask?, owner: (any Sendable)? = nil
    ) {
        (self.key, self.deltas, self.task, self.owner) = (key, deltas, task, owner)
    }
}

extension EncoderAdapter: AdapterTerms {
    /// What a registry makes of an adapter, or a blend, over an encoder.
    public struct Prepared: Sendable {
        let deltas: any LowRankDeltas
        let task: SequenceTask?

        init(_ deltas: any LowRankDeltas, over encoder: TextEncoder) {
            self.deltas = deltas
            // A blend has no head: none of its parts does.
            task = SequenceTask(deltas as? Adapter, over: encoder)
        }
    }

    /// What a registry prepared.
    public init(_ served: ServedAdapter<Prepared>) {
        self.init(
            key: served.key, deltas: served.prepared.deltas, task: served.prepared.task,
            owner: served)
    }
}
