import LorikeetRuntime

/// A regular expression over module names, the part of Python's `re` that adapter configurations use.
///
/// Literals, `.`, classes, `\d \w \s`, groups, alternatives, `* + ? {m,n}`, `^`, `$`. A match runs all
/// alternatives in step (Thompson 1968), so its time is the product of the two lengths whatever the
/// pattern: a pattern from a hostile file cannot hang a server as it would a backtracking matcher.
package struct ModuleNamePattern: Sendable {
    fileprivate enum Instruction: Sendable {
        case character(Set)
        case split(Int, Int)  // offsets from here
        case jump(Int)
        case start
        case end
    }

    fileprivate struct Set: Sendable {
        var ranges: [ClosedRange<Unicode.Scalar>]
        var isNegated = false

        func contains(_ scalar: Unicode.Scalar) -> Bool {
            ranges.contains { $0.contains(scalar) } != isNegated
        }
    }

    private let program: [Instruction]

    /// Compiles `pattern`, which is from the file `source`.
    ///
    /// - Throws: `.unsupported` for look-around, back references and patterns past 4,096 steps,
    ///   `.malformed` for what is no regular expression.
    package init(_ pattern: String, source: String) throws {
        var parser = PatternParser(pattern: pattern, source: source)
        program = try parser.whole()
    }

    /// Whether the pattern matches all of `name` (Python's `re.fullmatch`).
    package func matches(_ name: String) -> Bool {
        let scalars = Array(name.unicodeScalars)
        var threads = Threads(count: program.count + 1)
        var next = threads
        follow(0, at: 0, of: scalars.count, into: &threads)
        for (position, scalar) in scalars.enumerated() {
            next.removeAll()
            for thread in threads.list where thread < program.count {
                if case .character(let set) = program[thread], set.contains(scalar) {
                    follow(thread + 1, at: position + 1, of: scalars.count, into: &next)
                }
            }
            swap(&threads, &next)
        }
        return threads.isIn[program.count]
    }

    private struct Threads {
        var list: [Int] = []
        var isIn: [Bool]

        init(count: Int) { isIn = [Bool](repeating: false, count: count) }

        mutating func removeAll() {
            for thread in list { isIn[thread] = false }
            list.removeAll(keepingCapacity: true)
        }
    }

    /// Adds every instruction that is reached from `start` without reading a character.
    private func follow(_ start: Int, at position: Int, of count: Int, into threads: inout Threads)
    {
        var pending = [start]
        while let thread = pending.popLast() {
            guard !threads.isIn[thread] else { continue }
            threads.isIn[thread] = true
            threads.list.append(thread)
            guard thread < program.count else { continue }
            switch program[thread] {
            case .character: break
            case .split(let first, let second): pending += [thread + second, thread + first]
            case .jump(let offset): pending.append(thread + offset)
            case .start: if position == 0 { pending.append(thread + 1) }
            case .end: if position == count { pending.append(thread + 1) }
            }
        }
    }
}

private struct PatternParser {
    typealias Instruction = ModuleNamePattern.Instruction
    typealias Set = ModuleNamePattern.Set

    static let maximumLength = 4096
    static let maximumDepth = 64

    let pattern: String
    let source: String
    let scalars: [Unicode.Scalar]
    var position = 0
    var depth = 0

    init(pattern: String, source: String) {
        self.pattern = pattern
        self.source = source
        scalars = Array(pattern.unicodeScalars)
    }

    func failure(_ code: LorikeetError.Code, _ problem: String) -> LorikeetError {
        LorikeetError(
            code, source,
            "the pattern \(String(reflecting: pattern)): \(problem) at character \(position)")
    }

    var peek: Unicode.Scalar? { position < scalars.count ? scalars[position] : nil }

    mutating func take(_ scalar: Unicode.Scalar) -> Bool {
        guard peek == scalar else { return false }
        position += 1
        return true
    }

    func checked(_ length: Int) throws {
        guard length <= Self.maximumLength else {
            throw failure(.unsupported, "longer than \(Self.maximumLength) steps")
        }
    }

    mutating func whole() throws -> [Instruction] {
        try checked(scalars.count)
        let program = try alternatives()
        guard position == scalars.count else { throw failure(.malformed, "an unopened ')'") }
        return program
    }

    mutating func alternatives() throws -> [Instruction] {
        depth += 1
        defer { depth -= 1 }
        guard depth <= Self.maximumDepth else { throw failure(.unsupported, "nested too deep") }
        var program = try sequence()
        while take("|") {
            let other = try sequence()
            program =
                [.split(1, program.count + 2)] + program + [.jump(other.count + 1)] + other
            try checked(program.count)
        }
        return program
    }

    mutating func sequence() throws -> [Instruction] {
        var program: [Instruction] = []
        while let scalar = peek, scalar != "|", scalar != ")" {
            program += try repeated(atom())
            try checked(program.count)
        }
        return program
    }

    mutating func repeated(_ atom: [Instruction]) throws -> [Instruction] {
        let bounds: (least: Int, most: Int?)
        if take("*") {
            bounds = (0, nil)
        } else if take("+") {
            bounds = (1, nil)
        } else if take("?") {
            bounds = (0, 1)
        } else if let counts = try counts() {
            bounds = counts
        } else {
            return atom
        }
        _ = take("?")  // lazy: the same strings match
        if let scalar = peek, ["*", "+", "?"].contains(scalar) {
            throw failure(.unsupported, "a repetition of a repetition")
        }
        // x{m,n} is m copies and n - m optional ones; x{m,} ends in a loop.
        try checked((atom.count + 2) * max(bounds.least, bounds.most ?? 0, 1))
        var program: [Instruction] = []
        for _ in 0..<bounds.least { program += atom }
        if let most = bounds.most {
            for _ in bounds.least..<most { program += [.split(1, atom.count + 1)] + atom }
        } else {
            program += [.split(1, atom.count + 2)] + atom + [.jump(-atom.count - 1)]
        }
        return program
    }

    /// `{m}`, `{m,}`, `{,n}` or `{m,n}`; any other brace is a literal, as in Python.
    mutating func counts() throws -> (least: Int, most: Int?)? {
        guard peek == "{", let closing = scalars[position...].firstIndex(of: "}") else {
            return nil
        }
        var text = String.UnicodeScalarView()
        text.append(contentsOf: scalars[position + 1..<closing])
        let parts = String(text).split(separator: ",", omittingEmptySubsequences: false)
        guard text.allSatisfy({ $0 == "," || ("0"..."9").contains($0) }), !text.isEmpty,
            parts.count <= 2
        else { return nil }
        position = closing + 1
        let least = parts[0].isEmpty ? 0 : Int(parts[0])
        let most = parts.count == 1 ? least : parts[1].isEmpty ? nil : Int(parts[1])
        guard let least, least <= Self.maximumLength, most ?? 0 <= Self.maximumLength,
            parts.count == 1 || parts[1].isEmpty || most != nil
        else { throw failure(.unsupported, "a count past \(Self.maximumLength)") }
        guard most ?? least >= least else { throw failure(.malformed, "a count below its minimum") }
        return (least, most)
    }

    mutating func atom() throws -> [Instruction] {
        let scalar = scalars[position]
        position += 1
        switch scalar {
        case "(": return try group()
        case "[": return [.character(try characterClass())]
        case ".": return [.character(Set(ranges: ["\n"..."\n"], isNegated: true))]
        case "^": return [.start]
        case "$": return [.end]
        case "\\": return [.character(try escape())]
        case "*", "+", "?": throw failure(.malformed, "nothing to repeat")
        default: return [.character(Set(ranges: [scalar...scalar]))]
        }
    }

    mutating func group() throws -> [Instruction] {
        if take("?") {
            if take("P") {
                guard take("<"), let closing = scalars[position...].firstIndex(of: ">") else {
                    throw failure(.unsupported, "a back reference")
                }
                position = closing + 1
            } else if !take(":") {
                throw failure(.unsupported, "look-around or a flag")
            }
        }
        let program = try alternatives()
        guard take(")") else { throw failure(.malformed, "a '(' without its ')'") }
        return program
    }

    /// After the backslash.
    mutating func escape() throws -> Set {
        guard let scalar = peek else { throw failure(.malformed, "a '\\' at the end") }
        position += 1
        // ASCII alone: module names are Python identifiers joined by dots.
        let word: [ClosedRange<Unicode.Scalar>] = ["0"..."9", "A"..."Z", "_"..."_", "a"..."z"]
        let space: [ClosedRange<Unicode.Scalar>] = [" "..." ", "\t"..."\r"]
        switch scalar {
        case "d": return Set(ranges: ["0"..."9"])
        case "D": return Set(ranges: ["0"..."9"], isNegated: true)
        case "w": return Set(ranges: word)
        case "W": return Set(ranges: word, isNegated: true)
        case "s": return Set(ranges: space)
        case "S": return Set(ranges: space, isNegated: true)
        case "a"..."z", "A"..."Z", "0"..."9":
            throw failure(.unsupported, "the escape \\\(scalar)")
        default: return Set(ranges: [scalar...scalar])
        }
    }

    /// After the opening bracket.
    mutating func characterClass() throws -> Set {
        var set = Set(ranges: [])
        set.isNegated = take("^")
        var isFirst = true
        while let scalar = peek, scalar != "]" || isFirst {
            isFirst = false
            position += 1
            if scalar == "\\" {
                let escaped = try escape()
                guard !escaped.isNegated else {
                    throw failure(.unsupported, "a negated class within a class")
                }
                set.ranges += escaped.ranges
            } else if peek == "-", position + 1 < scalars.count, scalars[position + 1] != "]" {
                let last = scalars[position + 1]
                guard last != "\\", scalar <= last else { throw failure(.malformed, "a bad range") }
                set.ranges.append(scalar...last)
                position += 2
            } else {
                set.ranges.append(scalar...scalar)
            }
        }
        guard take("]") else { throw failure(.malformed, "a '[' without its ']'") }
        return set
    }
}
