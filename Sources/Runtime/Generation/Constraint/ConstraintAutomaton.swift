import Synchronization

/// A grammar over a vocabulary: which tokens may follow, worked out as answers get there and kept.
///
/// One is made for a grammar and shared by all sequences that it binds, so that a schema's second answer
/// finds what the first has worked out.
///
/// ```swift
/// let automaton = ConstraintAutomaton(try .jsonSchema(schema), vocabulary)
/// let constraint = automaton.makeConstraint()   // one for each sequence
/// ```
public final class ConstraintAutomaton: Sendable {
    private let grammar: ConstraintGrammar
    private let vocabulary: ConstraintVocabulary
    private let current: Mutex<GrammarRuns>

    /// Prepares `grammar` for the tokens of `vocabulary`.
    public init(_ grammar: ConstraintGrammar, _ vocabulary: ConstraintVocabulary) {
        self.grammar = grammar
        self.vocabulary = vocabulary
        current = Mutex(GrammarRuns(grammar, vocabulary))
    }

    /// A constraint for one sequence, at the text's beginning.
    public func makeConstraint() -> any TokenConstraint { GrammarConstraint(self, runs: runs()) }

    /// What has been worked out so far, or a new beginning when that is too much to keep.
    fileprivate func runs() -> GrammarRuns {
        current.withLock { runs in
            if runs.isFull { runs = GrammarRuns(grammar, vocabulary) }
            return runs
        }
    }

    fileprivate func bytes(of token: Int32) -> ArraySlice<UInt8> { vocabulary.bytes(of: token) }

    fileprivate func isEnd(_ token: Int32) -> Bool { vocabulary.endTokens.contains(token) }
}

/// Follows one sequence through a grammar.
private final class GrammarConstraint: TokenConstraint {
    private let automaton: ConstraintAutomaton
    private var runs: GrammarRuns
    private var set = GrammarRuns.start
    private var text: [UInt8] = []

    init(_ automaton: ConstraintAutomaton, runs: GrammarRuns) {
        self.automaton = automaton
        self.runs = runs
    }

    var isComplete: Bool { runs.isComplete(set) }

    func writeAllowedTokens(to mask: TokenMask) {
        if runs.isFull {
            runs = automaton.runs()
            set = runs.advance(GrammarRuns.start, over: text[...]) ?? set
        }
        runs.writeAllowedTokens(after: set, to: mask)
    }

    func accept(_ token: Int32) {
        guard !automaton.isEnd(token) else { return }
        let bytes = automaton.bytes(of: token)
        guard !bytes.isEmpty, let next = runs.advance(set, over: bytes) else {
            preconditionFailure("the token \(token) is not allowed")
        }
        text += bytes
        set = next
    }
}
