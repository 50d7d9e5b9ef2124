import DequeModule
import Dispatch
import LorikeetRuntime
import Synchronization

/// Where requests wait for the engine's thread, and what that thread tells of itself.
final class EngineInbox: Sendable {
    private struct State {
        var incoming: [EngineSubmission] = []
        var jobs: Deque<@Sendable (InferencePass) -> Void> = []
        var statistics = EngineStatistics()
        // Requests and seconds of those that ended lately, for an estimate of the wait.
        var secondsPerRequest = 0.0
        var isStopping = false
        var isCancelling = false
    }

    private let state = Mutex(State())
    private let signal = DispatchSemaphore(value: 0)
    private let ended = Latch()

    /// Adds a request.
    ///
    /// - Throws: `EngineOverload`.
    func add(_ submission: EngineSubmission, options: EngineOptions) throws {
        try state.withLock { state in
            guard !state.isStopping else {
                throw EngineOverload(reason: .stopping, retryAfter: 5)
            }
            // What came since the last step may find a place in the batch, and does not wait then.
            let waiting = state.incoming.count + state.statistics.waiting
            let places = options.runningLimit - state.statistics.running
            guard waiting < options.waitingLimit + places else {
                let seconds = Double(waiting) * state.secondsPerRequest
                throw EngineOverload(
                    reason: .full, retryAfter: max(1, Int(min(seconds, 60).rounded(.up))))
            }
            state.incoming.append(submission)
        }
        wake()
    }

    /// Adds a job for the engine's thread.
    ///
    /// - Throws: `EngineOverload`.
    func add(_ job: @escaping @Sendable (InferencePass) -> Void) throws {
        try state.withLock { state in
            guard !state.isStopping else {
                throw EngineOverload(reason: .stopping, retryAfter: 5)
            }
            state.jobs.append(job)
        }
        wake()
    }

    /// Makes the engine look.
    func wake() { signal.signal() }

    /// Waits until there may be something to do.
    func sleep() { signal.wait() }

    /// What came since the last call.
    struct News {
        /// Requests.
        var incoming: [EngineSubmission]
        /// The job that is next.
        var job: (@Sendable (InferencePass) -> Void)?
        /// Whether the engine shall end when it has nothing to do, and at once.
        var isStopping: Bool
        /// Whether requests are given up.
        var isCancelling: Bool
    }

    /// Takes what came since the last call, one job at most.
    func take() -> News {
        state.withLock { state in
            defer { state.incoming = [] }
            return News(
                incoming: state.incoming, job: state.jobs.popFirst(),
                isStopping: state.isStopping && state.jobs.isEmpty,
                isCancelling: state.isCancelling)
        }
    }

    /// No request is added any more.
    func stop(cancelling: Bool) {
        state.withLock {
            $0.isStopping = true
            $0.isCancelling = $0.isCancelling || cancelling
        }
        wake()
    }

    /// What the engine's thread has told.
    var statistics: EngineStatistics { state.withLock { $0.statistics } }

    /// Tells what the engine does.
    ///
    /// - secondsPerRequest: the time in which a request's place becomes free, as it is now.
    func publish(_ statistics: EngineStatistics, secondsPerRequest: Double) {
        state.withLock {
            $0.statistics = statistics
            $0.secondsPerRequest = secondsPerRequest
        }
    }

    /// Tells that the engine's thread ends.
    func end() { ended.open() }

    /// Returns when the engine's thread has ended.
    func waitUntilEnded() async { await ended.wait() }
}
