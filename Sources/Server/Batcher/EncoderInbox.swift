import Dispatch
import LorikeetRuntime
import Synchronization

/// A request on its way into a batcher, and the way back to who asked.
package final class EncoderSubmission: Sendable {
    /// Notes that nobody waits any more.
    package final class Cancellation: Sendable {
        private let flag = Atomic<Bool>(false)

        /// Nobody has gone yet.
        package init() {}

        fileprivate var isCancelled: Bool { flag.load(ordering: .relaxed) }

        /// Notes that nobody waits.
        package func cancel() { flag.store(true, ordering: .relaxed) }
    }

    /// What is asked.
    let request: EncoderRequest
    /// When it came.
    let arrival = ContinuousClock().now
    private let cancellation: Cancellation
    private let continuation: CheckedContinuation<EncoderOutputs, any Error>

    /// A request whose answer goes to `continuation`.
    package init(
        _ request: EncoderRequest, _ cancellation: Cancellation,
        _ continuation: CheckedContinuation<EncoderOutputs, any Error>
    ) {
        self.request = request
        self.cancellation = cancellation
        self.continuation = continuation
    }

    /// Whether nobody waits for the answer any more.
    var isCancelled: Bool { cancellation.isCancelled }

    /// Answers, once.
    func finish(_ result: Result<EncoderOutputs, any Error>) { continuation.resume(with: result) }
}

/// Where requests wait for the batcher's thread, and what that thread tells of itself.
package final class EncoderInbox: Sendable {
    private struct State {
        var incoming: [EncoderSubmission] = []
        var statistics = EngineStatistics()
        var isStopping = false
        var isCancelling = false

        var count: Int { incoming.count + statistics.running + statistics.waiting }
    }

    private let state = Mutex(State())
    private let signal = DispatchSemaphore(value: 0)
    private let ended = Latch()

    /// Nothing waits yet.
    package init() {}

    /// Adds a request, unless `limit` of them are there.
    ///
    /// - Throws: `EngineOverload`.
    package func add(_ submission: EncoderSubmission, limit: Int) throws {
        try state.withLock { state in
            guard !state.isStopping else {
                throw EngineOverload(reason: .stopping, retryAfter: 5)
            }
            guard state.count < limit else {
                throw EngineOverload(reason: .full, retryAfter: 1)
            }
            state.incoming.append(submission)
        }
        wake()
    }

    /// How many requests wait and run.
    package var count: Int { state.withLock { $0.count } }

    /// Makes the batcher look.
    func wake() { signal.signal() }

    /// Waits until there may be something to do.
    func sleep() { signal.wait() }

    /// Takes what came since the last call: requests, whether the batcher shall end when it has none, and
    /// whether it gives up those that it has.
    func take() -> (incoming: [EncoderSubmission], isStopping: Bool, isCancelling: Bool) {
        state.withLock { state in
            // They count until the batcher says where they are.
            state.statistics.waiting += state.incoming.count
            defer { state.incoming = [] }
            return (state.incoming, state.isStopping, state.isCancelling)
        }
    }

    /// No request is added any more.
    package func stop(cancelling: Bool) {
        state.withLock {
            $0.isStopping = true
            $0.isCancelling = $0.isCancelling || cancelling
        }
        wake()
    }

    /// What the batcher's thread has told.
    package var statistics: EngineStatistics { state.withLock { $0.statistics } }

    /// Tells what the batcher does.
    func publish(_ statistics: EngineStatistics) { state.withLock { $0.statistics = statistics } }

    /// Tells that the batcher's thread ends.
    func end() { ended.open() }

    /// Returns when the batcher's thread has ended.
    func waitUntilEnded() async { await ended.wait() }
}
