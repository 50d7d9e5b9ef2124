import NIOCore
import Synchronization

/// Knows what to give up when a connection ends.
final class ConnectionWatch: Sendable {
    /// Names one thing to give up.
    struct Token: Sendable {
        fileprivate let connection: ObjectIdentifier
        fileprivate let number: Int
    }

    private struct State {
        var next = 0
        var work: [ObjectIdentifier: [Int: @Sendable () -> Void]] = [:]
    }

    private let state = Mutex(State())

    /// Calls `cancel` when `channel` ends, at once if it has.
    func add(_ channel: any Channel, _ cancel: @escaping @Sendable () -> Void) -> Token {
        let connection = ObjectIdentifier(channel)
        let number = state.withLock { state in
            state.next += 1
            state.work[connection, default: [:]][state.next] = cancel
            return state.next
        }
        // It may have ended before it was watched. A channel that tests never opened has not.
        if !channel.isActive, channel.remoteAddress != nil { ended(connection) }
        return Token(connection: connection, number: number)
    }

    /// There is nothing to give up any more.
    func remove(_ token: Token) {
        state.withLock { state in
            state.work[token.connection]?[token.number] = nil
            if state.work[token.connection]?.isEmpty ?? false {
                state.work[token.connection] = nil
            }
        }
    }

    /// Gives up what belongs to a connection.
    func ended(_ connection: ObjectIdentifier) {
        let work = state.withLock { $0.work.removeValue(forKey: connection) }
        for cancel in work?.values.map(\.self) ?? [] { cancel() }
    }
}
