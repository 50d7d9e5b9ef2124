/// A compiled regular expression over UTF-8, in the dialect of tokenizer.json (Oniguruma's).
///
/// Foundation's expressions would bring ICU's semantics and an allocation per match. This is a
/// backtracking matcher for the few constructs that tokenizers use, see `PatternParser`, with a bound on
/// its steps, since both the pattern and the text may be hostile.
package struct Pattern: Sendable {
    /// One instruction; the operands index into the program, the sets or the filters.
    enum Instruction: Sendable {
        /// One scalar of the set.
        case set(Int)
        /// `minimum` to `maximum` scalars of the set.
        case run(set: Int, minimum: Int, maximum: Int, possessive: Bool)
        /// Goes on here if the next byte passes the filter, keeping `otherwise` for later; else goes there.
        case attempt(first: Int, otherwise: Int)
        /// Goes on at one target and keeps another for later.
        case fork(preferred: Int, otherwise: Int)
        case jump(Int)
        /// Runs what follows up to its `accept` as a match of its own, then goes on at `end`.
        case lookahead(negative: Bool, end: Int)
        case atomic(end: Int)
        case anchor(PatternAnchor)
        case accept
    }

    private static let maximumInstructions = 20_000

    private(set) var program: [Instruction] = []
    private(set) var sets: [ScalarSet] = []
    private(set) var filters: [FirstScalars] = []
    /// What a match can begin with.
    private(set) var first: FirstScalars

    /// Compiles `pattern`; `source` says where it stands, for the error.
    ///
    /// - Throws: `.malformed` or `.unsupported`, naming the construct and its place.
    package init(_ pattern: String, source: String) throws {
        var parser = PatternParser(pattern, source: source)
        let node = try parser.parse()
        first = node.canBeEmpty ? .all : node.first
        try emit(node, source)
        program.append(.accept)
    }

    /// A pattern that matches `text` itself.
    init(literal text: String) {
        let node = PatternNode.sequence(
            text.unicodeScalars.map { .set(ScalarSet([.range($0.value...$0.value)])) })
        first = node.canBeEmpty ? .all : node.first
        for scalar in text.unicodeScalars {
            program.append(.set(sets.count))
            sets.append(ScalarSet([.range(scalar.value...scalar.value)]))
        }
        program.append(.accept)
    }

    private mutating func emit(_ node: PatternNode, _ source: String) throws {
        guard program.count < Self.maximumInstructions else {
            throw LorikeetError(
                .unsupported, source, "a pattern that unfolds to too many instructions")
        }
        switch node {
        case .set(let set):
            program.append(.set(sets.count))
            sets.append(set)
        case .sequence(let nodes):
            for node in nodes { try emit(node, source) }
        case .alternation(let nodes): try emitAlternation(nodes, source)
        case .repetition(.set(let set), let minimum, let maximum, let greed) where greed != .lazy:
            program.append(
                .run(
                    set: sets.count, minimum: minimum, maximum: maximum ?? .max,
                    possessive: greed == .possessive))
            sets.append(set)
        case .repetition(let node, let minimum, let maximum, .possessive):
            try emit(
                .atomic(.repetition(node, minimum: minimum, maximum: maximum, .greedy)), source)
        case .repetition(let node, let minimum, let maximum, let greed):
            try emitRepetition(node, minimum, maximum, greed, source)
        case .lookahead(let node, let negative):
            let start = program.count
            program.append(.accept)
            try emit(node, source)
            program.append(.accept)
            program[start] = .lookahead(negative: negative, end: program.count)
        case .atomic(let node):
            let start = program.count
            program.append(.accept)
            try emit(node, source)
            program.append(.accept)
            program[start] = .atomic(end: program.count)
        case .anchor(let anchor): program.append(.anchor(anchor))
        }
    }

    /// `a|b|c`: each alternative but the last behind a filter on what it can begin with.
    private mutating func emitAlternation(_ nodes: [PatternNode], _ source: String) throws {
        var exits: [Int] = []
        for (index, node) in nodes.enumerated() {
            let start = program.count
            if index + 1 < nodes.count {
                program.append(.accept)
                filters.append(node.canBeEmpty ? .all : node.first)
            }
            let filter = filters.count - 1
            try emit(node, source)
            if index + 1 < nodes.count {
                exits.append(program.count)
                program.append(.accept)
                // An alternative that can be empty must be tried at the text's end as well.
                program[start] =
                    node.canBeEmpty
                    ? .fork(preferred: start + 1, otherwise: program.count)
                    : .attempt(first: filter, otherwise: program.count)
            }
        }
        for exit in exits { program[exit] = .jump(program.count) }
    }

    /// `x{n,m}`: n copies, then m - n nested options or a loop.
    private mutating func emitRepetition(
        _ node: PatternNode, _ minimum: Int, _ maximum: Int?, _ greed: PatternGreed,
        _ source: String
    ) throws {
        for _ in 0..<minimum { try emit(node, source) }
        func fork(_ body: Int, _ exit: Int) -> Instruction {
            greed == .lazy
                ? .fork(preferred: exit, otherwise: body) : .fork(preferred: body, otherwise: exit)
        }
        guard let maximum else {
            let start = program.count
            program.append(.accept)
            try emit(node, source)
            program.append(.jump(start))
            program[start] = fork(start + 1, program.count)
            return
        }
        var starts: [Int] = []
        for _ in minimum..<maximum {
            starts.append(program.count)
            program.append(.accept)
            try emit(node, source)
        }
        for start in starts { program[start] = fork(start + 1, program.count) }
    }
}
