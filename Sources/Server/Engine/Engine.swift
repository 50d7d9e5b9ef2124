import Foundation
import LorikeetQuant
public import LorikeetRuntime

/// Generates the answers to many requests at once, in one batch that requests join and leave at every step.
///
/// A thread of its own runs the model; `submit` may be called from any other.
///
/// ```swift
/// let engine = Engine(model)
/// for await event in try engine.submit(EngineRequest(prompt: prompt)) {
///     if case .token(_, let text) = event { print(text, terminator: "") }
/// }
/// ```
public final class Engine: Sendable {
    /// The model.
    public let model: LanguageModel
    /// How much it takes on.
    public let options: EngineOptions
    /// The longest sequence, prompt and answer: what the model and the memory for keys and values allow.
    public let contextLength: Int
    private let inbox = EngineInbox()

    /// Starts an engine that waits for requests.
    public init(_ model: LanguageModel, options: EngineOptions = EngineOptions()) {
        self.model = model
        self.options = options
        let pool = KVPool(
            model.model.configuration, precision: model.compute.precision,
            maximumBytes: options.cacheBytes)
        contextLength = min(
            options.contextLength ?? .max, model.model.configuration.maximumPositions,
            (pool.limit ?? .max / KVPool.positions) * KVPool.positions)
        let thread = Thread { [inbox, contextLength] in
            model.compute.pool.adoptNiceness()
            let loop = EngineLoop(
                model, options: options, contextLength: contextLength, pool: pool, inbox: inbox)
            while loop.step() {}
        }
        thread.name = "engine"
        // A pass of a large model keeps arrays of batches and spans, but no deep recursion.
        thread.stackSize = 8 << 20
        thread.start()
    }

    deinit { inbox.stop(cancelling: true) }

    /// Takes a request on.
    ///
    /// - Returns: what becomes of it; ending the iteration cancels the request, which leaves the batch before
    ///   the next step.
    /// - Throws: `LorikeetError` for an empty prompt, one that leaves no room for an answer, or a token outside
    ///   the vocabulary; `EngineOverload` where as many requests wait as may, or the engine ends.
    public func submit(_ request: EngineRequest) throws -> AsyncStream<EngineEvent> {
        guard !request.prompt.isEmpty else {
            throw LorikeetError(.invalidArgument, "prompt", "has no tokens")
        }
        guard request.prompt.count < contextLength else {
            throw LorikeetError(
                .invalidArgument, "prompt", "leaves no room for an answer",
                expected: "fewer than \(contextLength) tokens", got: "\(request.prompt.count)",
                advice: "Shorten the conversation.")
        }
        try model.model.check(request.prompt)
        let (stream, continuation) = AsyncStream.makeStream(of: EngineEvent.self)
        let submission = EngineSubmission(request, continuation)
        continuation.onTermination = { [inbox] _ in
            submission.cancel()
            inbox.wake()
        }
        try inbox.add(submission, options: options)
        return stream
    }

    /// Runs `job` on the engine's thread, between two steps; what it takes holds up all requests.
    ///
    /// - Throws: what `job` throws; `EngineOverload` where the engine ends.
    public func perform<Result: Sendable>(
        _ job: @escaping @Sendable (InferencePass) throws -> Result
    ) async throws -> Result {
        try await withCheckedThrowingContinuation { continuation in
            do {
                try inbox.add { pass in continuation.resume(with: Swift.Result { try job(pass) }) }
            } catch {
                continuation.resume(throwing: error)
            }
        }
    }

    /// What the engine does now.
    public var statistics: EngineStatistics { inbox.statistics }

    /// Takes no more requests; those that it has are finished, or given up at once.
    public func stop(cancelling: Bool = false) { inbox.stop(cancelling: cancelling) }

    /// Waits until the engine has ended, after `stop`.
    public func waitUntilStopped() async {
        await inbox.waitUntilEnded()
    }
}
