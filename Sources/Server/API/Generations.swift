import HTTPTypes
import LorikeetRuntime

/// The answers to one HTTP request while they are made: the events of its engine requests as one stream.
///
/// The engine requests are cancelled when nobody reads the stream any more, when `cancel` is called, and
/// when their time is up.
struct Generations: Sendable {
    /// What happens meanwhile.
    enum Step: Sendable {
        /// Something happened to an answer.
        case event(answer: Int, EngineEvent)
        /// Nothing happened for a while.
        case pause
    }

    /// What happens, in order; ends when every answer is complete.
    ///
    /// - Throws: `APIError` when an answer fails or time is up, `CancellationError` after `cancel`.
    let steps: AsyncThrowingStream<Step, any Error>
    private let task: Task<Void, Never>

    /// Starts `requests`, all or none of them.
    ///
    /// - Parameters:
    ///   - requests: what to generate.
    ///   - engine: what generates.
    ///   - limits: how long it may take, and after what time a pause is told.
    ///   - holding: what is let go of at the end.
    ///   - observe: told of every event as it comes.
    /// - Throws: what `Engine.submit` throws.
    init(
        _ requests: [EngineRequest], on engine: Engine, limits: GenerationLimits,
        holding: AdmissionTicket, observe: @escaping @Sendable (Int, EngineEvent) -> Void
    ) throws {
        let streams = try requests.map { try engine.submit($0) }
        let (steps, continuation) = AsyncThrowingStream.makeStream(of: Step.self)
        self.steps = steps
        let task = Task {
            do {
                try await Self.forward(streams, limits: limits) { answer, event in
                    observe(answer, event)
                    continuation.yield(.event(answer: answer, event))
                } pause: {
                    continuation.yield(.pause)
                }
                continuation.finish()
            } catch {
                continuation.finish(throwing: error)
            }
            withExtendedLifetime(holding) {}
        }
        self.task = task
        continuation.onTermination = { _ in task.cancel() }
    }

    /// Gives up.
    func cancel() { task.cancel() }

    private static func forward(
        _ streams: [AsyncStream<EngineEvent>], limits: GenerationLimits,
        _ tell: @escaping @Sendable (Int, EngineEvent) -> Void,
        pause: @escaping @Sendable () -> Void
    ) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for (index, stream) in streams.enumerated() {
                group.addTask { try await follow(stream) { tell(index, $0) } }
            }
            group.addTask {
                try await Task.sleep(for: limits.time)
                throw APIError.lateAnswer
            }
            if let interval = limits.pause {
                group.addTask {
                    while true {
                        try await Task.sleep(for: interval)
                        pause()
                    }
                }
            }
            // The last two tasks never end by themselves.
            for _ in streams { try await group.next() }
            group.cancelAll()
        }
    }

    private static func follow(
        _ stream: AsyncStream<EngineEvent>, _ tell: (EngineEvent) -> Void
    ) async throws {
        for await event in stream {
            switch event {
            case .failed(let error): throw APIError(error)
            case .finished(let result) where result.finishReason == .cancelled: throw stopped
            case .finished: return tell(event)
            case .started, .prompt, .token: tell(event)
            }
        }
        try Task.checkCancellation()
        throw stopped
    }

    private static let stopped = APIError(EngineOverload(reason: .stopping, retryAfter: 5))
}

/// How long answers may take.
struct GenerationLimits: Sendable {
    /// The longest time from the start to the last answer's end.
    var time: Duration
    /// How often a pause is told; nil for never.
    var pause: Duration?
}
