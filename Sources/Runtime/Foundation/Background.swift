import Dispatch
import Synchronization

/// A value that is computed on another thread meanwhile.
final class Background<Value: Sendable>: Sendable {
    private let result = Mutex<Result<Value, any Error>?>(nil)
    private let done = DispatchSemaphore(value: 0)

    /// Starts `body`.
    init(_ body: @escaping @Sendable () throws -> Value) {
        DispatchQueue.global(qos: .userInitiated).async { [self] in
            let value = Result(catching: body)
            result.withLock { $0 = value }
            done.signal()
        }
    }

    /// Waits for the value; to be called once.
    func value() throws -> Value {
        done.wait()
        guard let result = result.withLock({ $0 }) else {
            preconditionFailure("signalled without a result")
        }
        return try result.get()
    }
}
