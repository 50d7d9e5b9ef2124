/// A regular expression as a tree.
indirect enum PatternNode: Sendable {
    /// One scalar of the set.
    case set(ScalarSet)
    case sequence([PatternNode])
    case alternation([PatternNode])
    case repetition(PatternNode, minimum: Int, maximum: Int?, PatternGreed)
    /// `(?=…)` and `(?!…)`: matches nothing, ahead of here.
    case lookahead(PatternNode, negative: Bool)
    /// `(?>…)`: once matched, never reconsidered.
    case atomic(PatternNode)
    case anchor(PatternAnchor)
}

/// How much a repetition takes first: `*`, `*?`, `*+`.
enum PatternGreed: Sendable { case greedy, lazy, possessive }

/// A condition on a place in the text; `^` and `$` are about lines, as in Oniguruma's own syntax.
enum PatternAnchor: Sendable {
    case lineStart, lineEnd, textStart, textEnd, wordBoundary, notWordBoundary
}

/// The scalars that a match can begin with; lets the matcher pass over alternatives at a glance.
struct FirstScalars: Sendable {
    var low: UInt64 = 0
    var high: UInt64 = 0
    var beyondASCII = false

    static let all = FirstScalars(low: .max, high: .max, beyondASCII: true)

    static func of(_ set: ScalarSet) -> FirstScalars {
        FirstScalars(low: set.ascii.low, high: set.ascii.high, beyondASCII: true)
    }

    mutating func formUnion(_ other: FirstScalars) {
        low |= other.low
        high |= other.high
        beyondASCII = beyondASCII || other.beyondASCII
    }

    /// Adds the scalars whose UTF-8 starts with `byte`, or all past ASCII.
    mutating func admit(_ byte: UInt8) {
        if byte < 64 {
            low |= 1 << UInt64(byte)
        } else if byte < 128 {
            high |= 1 << UInt64(byte - 64)
        } else {
            beyondASCII = true
        }
    }

    /// Whether a match can begin with a scalar whose UTF-8 starts with `byte`.
    @inline(__always)
    func admits(_ byte: UInt8) -> Bool {
        if byte < 64 { return low >> UInt64(byte) & 1 == 1 }
        if byte < 128 { return high >> UInt64(byte &- 64) & 1 == 1 }
        return beyondASCII
    }
}

extension PatternNode {
    /// Whether the node can match without taking a scalar.
    var canBeEmpty: Bool {
        switch self {
        case .set: false
        case .sequence(let nodes): nodes.allSatisfy(\.canBeEmpty)
        case .alternation(let nodes): nodes.contains(where: \.canBeEmpty)
        case .repetition(let node, let minimum, _, _): minimum == 0 || node.canBeEmpty
        case .lookahead, .anchor: true
        case .atomic(let node): node.canBeEmpty
        }
    }

    /// What a match that takes anything can begin with.
    var first: FirstScalars {
        switch self {
        case .set(let set): return .of(set)
        case .sequence(let nodes):
            var union = FirstScalars()
            for node in nodes {
                union.formUnion(node.first)
                if !node.canBeEmpty { break }
            }
            return union
        case .alternation(let nodes):
            return nodes.reduce(into: FirstScalars()) { $0.formUnion($1.first) }
        case .repetition(let node, _, _, _), .atomic(let node): return node.first
        case .lookahead, .anchor: return FirstScalars()
        }
    }
}
