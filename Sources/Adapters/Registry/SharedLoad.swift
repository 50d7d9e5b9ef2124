import Dispatch
import Synchronization

/// A value that one thread makes and any number wait for.
final class SharedLoad<Value: Sendable>: Sendable {
    private let result = Mutex<Result<Value, any Error>?>(nil)
    private let done = DispatchGroup()

    init() { done.enter() }

    /// Gives the value, once.
    func finish(_ value: Result<Value, any Error>) {
        result.withLock { $0 = value }
        done.leave()
    }

    /// Blocks the thread until the value is there.
    func wait() throws -> Value {
        done.wait()
        return try value()
    }

    /// Suspends the task until the value is there.
    func get() async throws -> Value {
        await withCheckedContinuation { continuation in
            done.notify(queue: .global()) { continuation.resume() }
        }
        return try value()
    }

    private func value() throws -> Value {
        guard let result = result.withLock({ $0 }) else {
            preconditionFailure("done without a result")
        }
        return try result.get()
    }
}
