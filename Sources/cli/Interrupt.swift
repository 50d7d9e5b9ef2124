import Foundation
import Synchronization

/// Ctrl-C as a question that long work asks between two steps, so that nothing is lost.
///
/// The second one ends the program at once.
enum Interrupt {
    private static let count = Atomic<Int>(0)

    /// Whether Ctrl-C was pressed since `listen()`.
    static var isRequested: Bool { count.load(ordering: .relaxed) > 0 }

    /// From here on Ctrl-C asks instead of killing, and so do the other `signals`.
    static func listen(_ signals: Int32...) {
        count.store(0, ordering: .relaxed)
        for number in [SIGINT] + signals {
            signal(number) { _ in
                if Interrupt.count.add(1, ordering: .relaxed).newValue > 1 { _exit(130) }
            }
        }
    }
}
