/// Puts together the states of a `ConstraintGrammar`: each method continues a path of states.
struct GrammarBuilder {
    /// A schema that takes more is hostile: one of a thousand properties takes some tens of thousands.
    private static let maximumStates = 200_000

    private(set) var states: [[ConstraintGrammar.Edge]] = [[]]
    /// What is being described, for errors.
    let source: String

    /// Begins a grammar of `source`.
    init(source: String) { self.source = source }

    /// A new state.
    ///
    /// - Throws: `.unsupported` when there are too many.
    mutating func state() throws -> Int32 {
        guard states.count < Self.maximumStates else {
            throw LorikeetError(
                .unsupported, source, "unfolds to too much",
                expected: "at most \(Self.maximumStates) states")
        }
        states.append([])
        return Int32(states.count - 1)
    }

    /// Adds an edge.
    mutating func add(_ edge: ConstraintGrammar.Edge, to state: Int32) {
        states[Int(state)].append(edge)
    }

    /// Joins `state` to `target` without reading anything.
    mutating func join(_ state: Int32, _ target: Int32) { add(.empty(target), to: state) }

    /// A rule that `body` writes from its first to its last state.
    mutating func rule(_ body: (inout GrammarBuilder, Int32) throws -> Int32) throws -> Int32 {
        let start = try state()
        join(try body(&self, start), ConstraintGrammar.end)
        return start
    }

    /// Reads one byte of a range.
    mutating func byte(_ range: ClosedRange<UInt8>, from state: Int32) throws -> Int32 {
        let next = try self.state()
        add(.byte(range, next), to: state)
        return next
    }

    /// Reads exactly `text`.
    mutating func literal(_ text: String, from state: Int32) throws -> Int32 {
        var state = state
        for byte in text.utf8 { state = try self.byte(byte...byte, from: state) }
        return state
    }

    /// Reads what a rule describes.
    mutating func call(_ rule: Int32, from state: Int32) throws -> Int32 {
        let next = try self.state()
        add(.call(rule, then: next), to: state)
        return next
    }

    /// Reads a rule from `minimum` to `maximum` times, without end when that is nil.
    mutating func repetition(
        _ rule: Int32, _ minimum: Int, _ maximum: Int?, from state: Int32
    ) throws -> Int32 {
        let loop = try self.state()
        let next = try self.state()
        join(state, loop)
        add(
            .repetition(
                rule, minimum: Int32(clamping: minimum),
                maximum: maximum.map { Int32(clamping: $0) }, then: next), to: loop)
        return next
    }

    /// Reads one of several things.
    mutating func choice<Element>(
        _ elements: some Sequence<Element>, from state: Int32,
        _ body: (inout GrammarBuilder, Element, Int32) throws -> Int32
    ) throws -> Int32 {
        let next = try self.state()
        for element in elements {
            let begin = try self.state()
            join(state, begin)
            join(try body(&self, element, begin), next)
        }
        return next
    }

    /// Reads one scalar of the ranges in UTF-8; surrogates are left out.
    ///
    /// Source of the cutting: Cox, "Regular Expression Matching in the Wild" (2010), as in RE2.
    mutating func scalar(_ ranges: [ClosedRange<UInt32>], from state: Int32) throws -> Int32 {
        let next = try self.state()
        let lengths: [ClosedRange<UInt32>] = [
            0...0x7F, 0x80...0x7FF, 0x800...0xD7FF, 0xE000...0xFFFF, 0x10000...0x10FFFF,
        ]
        for range in ranges {
            for part in lengths where part.overlaps(range) {
                let part = part.clamped(to: range)
                let low = Unicode.Scalar(part.lowerBound).flatMap(UTF8.encode).map(Array.init)
                let high = Unicode.Scalar(part.upperBound).flatMap(UTF8.encode).map(Array.init)
                if let low, let high { try bytes(low[...], high[...], from: state, to: next) }
            }
        }
        return next
    }

    /// Reads the encodings from `low` to `high`, of one length.
    private mutating func bytes(
        _ low: ArraySlice<UInt8>, _ high: ArraySlice<UInt8>, from state: Int32, to end: Int32
    ) throws {
        guard let first = low.first, let last = high.first else { return }
        let (lowRest, highRest) = (low.dropFirst(), high.dropFirst())
        if lowRest.isEmpty { return add(.byte(first...last, end), to: state) }
        let least = ArraySlice(repeating: UInt8(0x80), count: lowRest.count)
        let most = ArraySlice(repeating: UInt8(0xBF), count: lowRest.count)
        if first == last {
            let next = try byte(first...first, from: state)
            return try bytes(lowRest, highRest, from: next, to: end)
        }
        var (from, through) = (first, last)
        if lowRest != least {
            let next = try byte(first...first, from: state)
            try bytes(lowRest, most, from: next, to: end)
            from += 1
        }
        if highRest != most {
            let next = try byte(last...last, from: state)
            try bytes(least, highRest, from: next, to: end)
            through -= 1
        }
        if from <= through {
            let next = try byte(from...through, from: state)
            try bytes(least, most, from: next, to: end)
        }
    }
}
