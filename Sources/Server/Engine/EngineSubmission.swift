import LorikeetRuntime
import Synchronization

/// A request on its way into the engine, and the way back to who asked.
final class EngineSubmission: Sendable {
    /// What is asked.
    let request: EngineRequest
    /// When it came.
    let arrival = ContinuousClock().now
    private let continuation: AsyncStream<EngineEvent>.Continuation
    private let cancelled = Atomic<Bool>(false)

    /// A request whose events go to `continuation`.
    init(_ request: EngineRequest, _ continuation: AsyncStream<EngineEvent>.Continuation) {
        self.request = request
        self.continuation = continuation
    }

    /// Whether nobody waits for the answer any more.
    var isCancelled: Bool { cancelled.load(ordering: .relaxed) }

    /// Notes that nobody waits.
    func cancel() { cancelled.store(true, ordering: .relaxed) }

    /// Tells who asked.
    func send(_ event: EngineEvent) {
        continuation.yield(event)
        switch event {
        case .finished, .failed: continuation.finish()
        case .started, .prompt, .token: break
        }
    }
}
