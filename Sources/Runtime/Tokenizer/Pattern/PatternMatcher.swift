/// Finds the matches of a pattern in one text, left to right, none overlapping.
struct PatternMatcher {
    /// A place to come back to when the present path fails.
    private struct Retreat {
        var instruction: Int
        var position: Int
        /// A run may give back scalars down to here; -1 when this is no run.
        var shortest: Int
    }

    private static let maximumRetreats = 1 << 20

    private let pattern: Pattern
    private let text: UnsafeBufferPointer<UInt8>
    private var retreats: [Retreat] = []
    /// What is left of the bound on backtracking.
    ///
    /// Real patterns take a few dozen steps a byte; one that
    /// takes hundreds is exponential or quadratic on this text, and finds no further match.
    private var steps: Int

    /// Searches `text`, valid UTF-8 that outlives the matcher.
    init(_ pattern: Pattern, in text: UnsafeBufferPointer<UInt8>) {
        self.pattern = pattern
        self.text = text
        steps = 100_000 + text.count.multipliedReportingOverflow(by: 512).partialValue
    }

    /// The first match at or after `start`.
    mutating func firstMatch(from start: Int) -> Range<Int>? {
        var position = start
        while position <= text.count {
            if position == text.count || pattern.first.admits(text[position]) {
                retreats.removeAll(keepingCapacity: true)
                if let end = run(from: 0, at: position) { return position..<end }
                if steps <= 0 { return nil }
            }
            guard position < text.count else { return nil }
            position += text.scalarLength(at: position)
        }
        return nil
    }

    /// Runs the program at `position` until it accepts, and returns where; nil when every path fails.
    private mutating func run(from start: Int, at begin: Int) -> Int? {
        let base = retreats.count
        defer { retreats.removeSubrange(base...) }
        var instruction = start
        var position = begin
        while true {
            let succeeds: Bool
            switch pattern.program[instruction] {
            case .accept: return position
            case .set(let set):
                succeeds = takeScalar(of: set, at: &position)
                instruction += 1
            case .run(let set, let minimum, let maximum, let possessive):
                var taken = 0
                var shortest = minimum == 0 ? position : -1
                while taken < maximum, takeScalar(of: set, at: &position) {
                    taken += 1
                    if taken == minimum { shortest = position }
                }
                steps -= taken
                instruction += 1
                succeeds = taken >= minimum
                if succeeds, !possessive, position > shortest {
                    retreats.append(
                        Retreat(instruction: instruction, position: position, shortest: shortest))
                }
            case .attempt(let filter, let otherwise):
                succeeds = true
                if position < text.count, pattern.filters[filter].admits(text[position]) {
                    retreats.append(
                        Retreat(instruction: otherwise, position: position, shortest: -1))
                    instruction += 1
                } else {
                    instruction = otherwise
                }
            case .fork(let preferred, let otherwise):
                retreats.append(Retreat(instruction: otherwise, position: position, shortest: -1))
                instruction = preferred
                succeeds = true
            case .jump(let target):
                instruction = target
                succeeds = true
            case .lookahead(let negative, let end):
                succeeds = (run(from: instruction + 1, at: position) == nil) == negative
                instruction = end
            case .atomic(let end):
                let matched = run(from: instruction + 1, at: position)
                position = matched ?? position
                instruction = end
                succeeds = matched != nil
            case .anchor(let anchor):
                succeeds = holds(anchor, at: position)
                instruction += 1
            }
            steps -= 1
            if steps <= 0 || retreats.count > Self.maximumRetreats {
                steps = 0
                return nil
            }
            if !succeeds {
                guard retreats.count > base else { return nil }
                (instruction, position) = retreat()
            }
        }
    }

    /// The latest place to come back to; a run there has given back one scalar.
    private mutating func retreat() -> (instruction: Int, position: Int) {
        var last = retreats.removeLast()
        guard last.shortest >= 0 else { return (last.instruction, last.position) }
        last.position = text.scalarStart(before: last.position)
        if last.position > last.shortest { retreats.append(last) }
        return (last.instruction, last.position)
    }

    @inline(__always)
    private func takeScalar(of set: Int, at position: inout Int) -> Bool {
        guard position < text.count else { return false }
        let byte = text[position]
        if byte < 0x80 {
            guard pattern.sets[set].contains(UInt32(byte)) else { return false }
            position += 1
            return true
        }
        let (value, length) = text.scalar(at: position)
        guard pattern.sets[set].contains(value) else { return false }
        position += length
        return true
    }

    private func holds(_ anchor: PatternAnchor, at position: Int) -> Bool {
        switch anchor {
        case .textStart: position == 0
        case .textEnd: position == text.count
        case .lineStart:
            // A line feed that ends the text begins no line.
            position == 0 || text[position - 1] == 0x0A && position < text.count
        case .lineEnd: position == text.count || text[position] == 0x0A
        case .wordBoundary: isWord(before: position) != isWord(at: position)
        case .notWordBoundary: isWord(before: position) == isWord(at: position)
        }
    }

    private func isWord(at position: Int) -> Bool {
        position < text.count && Unicode.Scalar(text.scalar(at: position).value)?.isWord == true
    }

    private func isWord(before position: Int) -> Bool {
        position > 0 && isWord(at: text.scalarStart(before: position))
    }
}
