import Synchronization

/// The sets of places where a run through a grammar can be, found as they are reached: a
/// deterministic automaton over bytes, made lazily (Thompson 1968), whose places carry a stack.
///
/// Everything is numbered: stacks, and sets of places. What follows a set after a byte, and the tokens
/// that a set allows, are kept. The lock makes it safe to share.
final class GrammarRuns: Sendable {
    /// The set at the text's beginning.
    static let start: Int32 = 0

    private let tables: Mutex<GrammarTables>

    init(_ grammar: ConstraintGrammar, _ vocabulary: ConstraintVocabulary) {
        tables = Mutex(GrammarTables(grammar, vocabulary))
    }

    /// Whether so much has been found that a new beginning is due.
    var isFull: Bool { tables.withLock(\.isFull) }

    /// Whether the text may end in a set.
    func isComplete(_ set: Int32) -> Bool { tables.withLock { $0.isComplete(set) } }

    /// The set after `bytes`; nil when the grammar does not allow them.
    func advance(_ set: Int32, over bytes: ArraySlice<UInt8>) -> Int32? {
        tables.withLock { tables in
            var set = set
            for byte in bytes {
                set = tables.next(set, byte)
                if set < 0 { return nil }
            }
            return set
        }
    }

    /// Writes the tokens that may follow a set.
    func writeAllowedTokens(after set: Int32, to mask: TokenMask) {
        tables.withLock { $0.writeAllowedTokens(after: set, to: mask) }
    }
}
