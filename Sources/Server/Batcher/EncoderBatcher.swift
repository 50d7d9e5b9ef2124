import Foundation
import LorikeetQuant
public import LorikeetRuntime

/// Encodes the texts of many requests at once: they share passes over the model, those of one adapter together.
///
/// A thread of its own runs the model; requests may come from any other.
///
/// ```swift
/// let batcher = EncoderBatcher(encoder)
/// let request = EncoderRequest([encoder.row("A text.")], for: .vectors)
/// let vector = try await batcher.outputs(of: request).values[0]
/// ```
public final class EncoderBatcher: Sendable {
    /// The model.
    public let encoder: TextEncoder
    /// How much it takes on.
    public let options: EncoderBatcherOptions
    /// The longest text, in tokens.
    public let contextLength: Int
    private let inbox = EncoderInbox()

    /// Starts a batcher that waits for requests.
    public init(
        _ encoder: TextEncoder, options: EncoderBatcherOptions = EncoderBatcherOptions()
    ) {
        self.encoder = encoder
        self.options = options
        contextLength = min(
            options.contextLength ?? .max, encoder.model.configuration.maximumPositions)
        let thread = Thread { [inbox, contextLength] in
            encoder.compute.pool.adoptNiceness()
            let loop = EncoderLoop(
                encoder, passTokens: max(options.passTokens, contextLength), inbox: inbox)
            while loop.step() {}
        }
        thread.name = "batcher"
        thread.stackSize = 8 << 20
        thread.start()
    }

    deinit { inbox.stop(cancelling: true) }

    /// What the model makes of a request's texts; cancelling the task gives the request up.
    ///
    /// - Throws: `LorikeetError` for a text without tokens, with more of them than `contextLength`, or with one
    ///   outside the vocabulary, and where neither model nor adapter has the head that is asked for;
    ///   `EngineOverload` where as many requests wait as may, or the batcher ends; `CancellationError`.
    public func outputs(of request: EncoderRequest) async throws -> EncoderOutputs {
        try check(request.rows)
        let cancellation = EncoderSubmission.Cancellation()
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                do {
                    try inbox.add(
                        EncoderSubmission(request, cancellation, continuation),
                        limit: options.waitingLimit)
                } catch {
                    continuation.resume(throwing: error)
                }
            }
        } onCancel: { [inbox] in
            cancellation.cancel()
            inbox.wake()
        }
    }

    /// Throws unless there are rows, each of which the model can read.
    func check(_ rows: [TrainingRow]) throws {
        guard !rows.isEmpty else {
            throw LorikeetError(.invalidArgument, "a request", "has no texts")
        }
        if let row = rows.first(where: { $0.inputIDs.count > contextLength }) {
            throw LorikeetError(
                .invalidArgument, "a text", "has more tokens than the model takes",
                expected: "at most \(contextLength)", got: "\(row.inputIDs.count)")
        }
        try encoder.model.check(rows)
    }

    /// What the batcher does now.
    public var statistics: EngineStatistics { inbox.statistics }

    /// Takes no more requests; those that it has are finished, or given up at once.
    public func stop(cancelling: Bool = false) { inbox.stop(cancelling: cancelling) }

    /// Waits until the batcher has ended, after `stop`.
    public func waitUntilStopped() async { await inbox.waitUntilEnded() }
}

/// How much a batcher takes on at a time.
public struct EncoderBatcherOptions: Sendable {
    /// Tokens of all texts in a step, unless a single text has more: how long a request with many texts holds up
    /// the others.
    public var passTokens = TextEncoder.passTokens
    /// Requests that run and wait; past it they are refused.
    public var waitingLimit = 320
    /// The longest text, in tokens; nil for the model's positions.
    public var contextLength: Int?

    /// 2,048 tokens in a step, 320 requests.
    public init() {}
}
