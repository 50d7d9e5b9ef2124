import LorikeetRuntime
import Synchronization

/// Counts the engine requests that HTTP requests stand for, and turns away what would only wait to be
/// refused.
///
/// A place is taken before a body is read or a prompt is tokenized, so that refusing costs nothing.
final class Admission: Sendable {
    private struct State {
        var count = 0
        var isDraining = false
        // A moving average of the seconds between two places that become free.
        var secondsPerPlace = 0.0
        var lastFreed: ContinuousClock.Instant?
    }

    private let limit: Int
    private let state = Mutex(State())

    /// At most `limit` at a time.
    init(limit: Int) { self.limit = limit }

    /// Takes `count` places.
    ///
    /// - Throws: `EngineOverload`.
    func enter(_ count: Int = 1) throws -> AdmissionTicket {
        try add(count)
        return AdmissionTicket(self, count)
    }

    /// How many places are taken.
    var count: Int { state.withLock { $0.count } }

    /// Whether nobody is let in any more.
    var isDraining: Bool { state.withLock { $0.isDraining } }

    /// Lets nobody in any more.
    func drain() { state.withLock { $0.isDraining = true } }

    /// Returns when all places are free, after `timeout`, or when the task is cancelled; says whether they
    /// are free.
    func waitUntilEmpty(for timeout: Duration) async -> Bool {
        let end = ContinuousClock().now + timeout
        while count > 0 {
            guard !Task.isCancelled, ContinuousClock().now < end else { return false }
            try? await Task.sleep(for: .milliseconds(20))
        }
        return true
    }

    fileprivate func add(_ count: Int) throws {
        try state.withLock { state in
            guard !state.isDraining else {
                throw EngineOverload(reason: .stopping, retryAfter: 5)
            }
            guard state.count + count <= limit else {
                let seconds = Double(state.count) * state.secondsPerPlace
                throw EngineOverload(
                    reason: .full, retryAfter: max(1, Int(min(seconds, 60).rounded(.up))))
            }
            state.count += count
        }
    }

    fileprivate func leave(_ count: Int) {
        let now = ContinuousClock().now
        state.withLock { state in
            state.count -= count
            if let last = state.lastFreed {
                let seconds = (now - last).seconds / Double(count)
                state.secondsPerPlace += 0.1 * (min(seconds, 60) - state.secondsPerPlace)
            }
            state.lastFreed = now
        }
    }
}

/// Places that an HTTP request has taken, for as long as somebody holds this.
final class AdmissionTicket: Sendable {
    private let admission: Admission
    private let count: Mutex<Int>

    fileprivate init(_ admission: Admission, _ count: Int) {
        self.admission = admission
        self.count = Mutex(count)
    }

    /// Takes more places, until there are `total`.
    ///
    /// - Throws: `EngineOverload`.
    func extend(to total: Int) throws {
        try count.withLock { count in
            guard total > count else { return }
            try admission.add(total - count)
            count = total
        }
    }

    deinit { admission.leave(count.withLock { $0 }) }
}
