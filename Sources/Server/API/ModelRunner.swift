import LorikeetRuntime

/// What runs a model for requests: the engine of a decoder, the batcher of an encoder.
protocol ModelRunner: Sendable {
    var tokenizer: Tokenizer { get }
    /// What writes conversations; nil where there are none.
    var chatTemplate: ChatTemplate? { get }
    /// The longest sequence, in tokens.
    var contextLength: Int { get }
    /// How many requests run and wait at a time.
    var places: Int { get }
    /// What it does now.
    var statistics: EngineStatistics { get }

    /// Takes no more requests; those that it has are finished, or given up at once.
    func stop(cancelling: Bool)
    /// Waits until it has ended, after `stop`.
    func waitUntilStopped() async
}

extension Engine: ModelRunner {
    var tokenizer: Tokenizer { model.tokenizer }
    var chatTemplate: ChatTemplate? { model.chatTemplate }
    var places: Int { options.runningLimit + options.waitingLimit }
}

extension EncoderBatcher: ModelRunner {
    var tokenizer: Tokenizer { encoder.tokenizer }
    var chatTemplate: ChatTemplate? { nil }
    var places: Int { options.waitingLimit }
}
