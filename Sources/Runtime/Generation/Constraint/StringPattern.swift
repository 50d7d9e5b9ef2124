/// A regular expression that a JSON string must match, as JSON Schema's `pattern` writes it.
///
/// What is read is the part of the dialects of ECMA-262, Python and Oniguruma that mean the same in all
/// three, or less of it: a class such as `\w` takes ASCII alone. An expression without `^` or `$` may match
/// anywhere, so any text stands before or after it.
struct StringPattern {
    private let source: String
    private let node: PatternNode

    /// Reads `pattern`; `source` says where it stands, for errors.
    ///
    /// - Throws: `.malformed` or `.unsupported`, naming the construct.
    init(_ pattern: String, source: String) throws {
        var parser = PatternParser(pattern, source: source)
        node = try parser.parse()
        self.source = source
    }

    /// Writes the string with its quotes.
    func write(
        to builder: inout GrammarBuilder, from state: Int32, textCharacter: Int32
    ) throws -> Int32 {
        let open = try builder.literal("\"", from: state)
        let end = try builder.choice(alternatives, from: open) { builder, node, begin in
            let (body, isAnchoredAtStart, isAnchoredAtEnd) = Self.withoutAnchors(node)
            var state = begin
            if !isAnchoredAtStart {
                state = try builder.repetition(textCharacter, 0, nil, from: state)
            }
            state = try write(body, to: &builder, from: state)
            return isAnchoredAtEnd
                ? state : try builder.repetition(textCharacter, 0, nil, from: state)
        }
        return try builder.literal("\"", from: end)
    }

    /// How many characters a match has; nil for no upper bound.
    var length: (minimum: Int, maximum: Int?) {
        alternatives.map { node in
            let (body, isAnchoredAtStart, isAnchoredAtEnd) = Self.withoutAnchors(node)
            let length = Self.length(of: body)
            return (length.minimum, isAnchoredAtStart && isAnchoredAtEnd ? length.maximum : nil)
        }.reduce(nil) { Self.either($0, $1) } ?? (0, 0)
    }

    private var alternatives: [PatternNode] {
        if case .alternation(let nodes) = node { nodes } else { [node] }
    }

    private static func withoutAnchors(
        _ node: PatternNode
    ) -> (body: PatternNode, isAnchoredAtStart: Bool, isAnchoredAtEnd: Bool) {
        var nodes = [node]
        if case .sequence(let parts) = node { nodes = parts }
        var (start, end) = (false, false)
        if case .anchor(let anchor) = nodes.first, anchor == .lineStart || anchor == .textStart {
            start = true
            nodes.removeFirst()
        }
        if case .anchor(let anchor) = nodes.last, anchor == .lineEnd || anchor == .textEnd {
            end = true
            nodes.removeLast()
        }
        return (.sequence(nodes), start, end)
    }

    private func failure(_ construct: String) -> LorikeetError {
        LorikeetError(.unsupported, source, "a pattern with \(construct)")
    }

    private func write(
        _ node: PatternNode, to builder: inout GrammarBuilder, from state: Int32
    ) throws -> Int32 {
        switch node {
        case .set(let set):
            guard let ranges = set.portableRanges else { throw failure("\\p or (?i:…)") }
            return try builder.escapedScalar(ranges, from: state)
        case .sequence(let nodes):
            return try nodes.reduce(state) { try write($1, to: &builder, from: $0) }
        case .alternation(let nodes):
            return try builder.choice(nodes, from: state) { builder, node, begin in
                try write(node, to: &builder, from: begin)
            }
        case .repetition(_, _, _, .possessive): throw failure("a possessive repetition")
        case .repetition(let node, let minimum, let maximum, _):
            let rule = try builder.rule { try write(node, to: &$0, from: $1) }
            return try builder.repetition(rule, minimum, maximum, from: state)
        case .lookahead: throw failure("a lookahead")
        case .atomic: throw failure("(?>…)")
        case .anchor: throw failure("an anchor within it")
        }
    }

    private typealias Length = (minimum: Int, maximum: Int?)

    // Nested repetitions of a thousand each come to more than can be counted.
    private static let most = 1 << 40

    private static func length(of node: PatternNode) -> Length {
        switch node {
        case .set: return (1, 1)
        case .sequence(let nodes):
            return nodes.map(length).reduce((0, 0)) { sum, next in
                (
                    min(sum.minimum + next.minimum, most),
                    sum.maximum.flatMap { a in next.maximum.map { min(a + $0, most) } }
                )
            }
        case .alternation(let nodes):
            return nodes.map(length).reduce(nil) { either($0, $1) } ?? (0, 0)
        case .repetition(let node, let minimum, let maximum, _):
            let length = length(of: node)
            return (
                min(length.minimum * minimum, most),
                maximum.flatMap { count in length.maximum.map { min($0 * count, most) } }
            )
        case .lookahead, .anchor: return (0, 0)
        case .atomic(let node): return length(of: node)
        }
    }

    private static func either(_ a: Length?, _ b: Length) -> Length? {
        guard let a else { return b }
        return (min(a.minimum, b.minimum), a.maximum.flatMap { x in b.maximum.map { max(x, $0) } })
    }
}

extension ScalarSet {
    /// Scalars that are in the set in every dialect; nil where the dialects have no common answer.
    fileprivate var portableRanges: [ClosedRange<UInt32>]? {
        guard !ignoresCase else { return nil }
        var ranges: [ClosedRange<UInt32>] = []
        var mayHoldMore = false
        for part in parts {
            switch part {
            case .range(let range): ranges.append(range)
            case .categoriesOfUnicode8: return nil
            case .whitespace, .word, .categories:
                if case .categories(let mask) = part, !Self.isDigits(mask) { return nil }
                let set = ScalarSet([part])
                ranges += (0..<128).filter { set.contains($0) }.map { $0...$0 }
                // Which of the others it holds differs from one dialect to the next.
                mayHoldMore = true
            }
        }
        guard isNegated else { return ranges }
        var rest: [ClosedRange<UInt32>] = []
        var next: UInt32 = 0
        for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) {
            if range.lowerBound > next { rest.append(next...range.lowerBound - 1) }
            next = max(next, range.upperBound + 1)
        }
        let last: UInt32 = mayHoldMore ? 127 : 0x10FFFF
        if next <= last { rest.append(next...last) }
        return rest
    }

    private static func isDigits(_ mask: UInt32) -> Bool {
        let digits = Unicode.GeneralCategory.mask(of: "Nd") ?? 0
        return mask == digits || mask == ~digits & Unicode.GeneralCategory.allMask
    }
}

extension GrammarBuilder {
    /// Reads a scalar of the ranges as a JSON string holds it: escaped only where it must be.
    fileprivate mutating func escapedScalar(
        _ ranges: [ClosedRange<UInt32>], from state: Int32
    ) throws -> Int32 {
        let escapes: [UInt32: String] = [
            0x22: "\\\"", 0x5C: "\\\\", 0x08: "\\b", 0x0C: "\\f", 0x0A: "\\n", 0x0D: "\\r",
            0x09: "\\t",
        ]
        let plain: [ClosedRange<UInt32>] = [0x20...0x21, 0x23...0x5B, 0x5D...0x10FFFF]
        let next = try scalar(
            ranges.flatMap { range in
                plain.filter { $0.overlaps(range) }.map { $0.clamped(to: range) }
            }, from: state)
        for (value, escape) in escapes.sorted(by: { $0.key < $1.key })
        where ranges.contains(where: { $0.contains(value) }) {
            join(try literal(escape, from: state), next)
        }
        return next
    }
}
