/// Reads the part of Oniguruma's syntax that tokenizers use.
///
/// Literals and escapes, `.`, classes with ranges and `\p{…}`, `\s \S \d \D \w \W`, the quantifiers
/// `? * + {n} {n,} {n,m}` greedy, lazy and possessive, groups `(…) (?:…) (?i:…) (?>…)`, lookahead
/// `(?=…) (?!…)`, alternation, the anchors `^ $ \A \z \b \B`. Anything else is refused by name. Case is
/// ignored scalar by scalar: `ß` is not taken for `ss`.
struct PatternParser {
    private static let maximumDepth = 64
    private static let maximumRepeats = 1000

    private let scalars: [Unicode.Scalar]
    private let source: String
    private var position = 0
    private var depth = 0
    private var ignoresCase = false

    /// Reads `pattern`; `source` says where it stands, for the error.
    init(_ pattern: String, source: String) {
        scalars = Array(pattern.unicodeScalars)
        self.source = source
    }

    mutating func parse() throws -> PatternNode {
        let node = try alternation()
        guard position == scalars.count else { throw failure(.malformed, "an unmatched ')'") }
        return node
    }

    private func failure(_ code: LorikeetError.Code, _ problem: String) -> LorikeetError {
        let text = String(String.UnicodeScalarView(scalars))
        return LorikeetError(
            code, source,
            "the pattern \(String(reflecting: text)): \(problem) at scalar \(position)")
    }

    private var next: Unicode.Scalar? { position < scalars.count ? scalars[position] : nil }

    private mutating func take() throws -> Unicode.Scalar {
        guard let scalar = next else { throw failure(.malformed, "an unexpected end") }
        position += 1
        return scalar
    }

    private mutating func take(_ text: String) -> Bool {
        let expected = Array(text.unicodeScalars)
        guard scalars[position...].starts(with: expected) else { return false }
        position += expected.count
        return true
    }

    // MARK: - Groups and repetition

    private mutating func alternation() throws -> PatternNode {
        depth += 1
        defer { depth -= 1 }
        guard depth <= Self.maximumDepth else {
            throw failure(.malformed, "groups nested too deeply")
        }
        var alternatives = [try sequence()]
        while take("|") { alternatives.append(try sequence()) }
        return alternatives.count == 1 ? alternatives[0] : .alternation(alternatives)
    }

    private mutating func sequence() throws -> PatternNode {
        var nodes: [PatternNode] = []
        while let scalar = next, scalar != "|", scalar != ")" {
            nodes.append(try quantified(try atom()))
        }
        return nodes.count == 1 ? nodes[0] : .sequence(nodes)
    }

    private mutating func quantified(_ atom: PatternNode) throws -> PatternNode {
        var node = atom
        while let (minimum, maximum, isInterval) = try quantifier() {
            if node.canBeEmpty {
                throw failure(.unsupported, "a repetition of something that can match nothing")
            }
            var greed = PatternGreed.greedy
            if take("?") {
                // {n}? means something else in each dialect.
                guard !isInterval || minimum != maximum else {
                    throw failure(.unsupported, "a lazy {n}")
                }
                greed = .lazy
            } else if !isInterval, take("+") {
                // After an interval, + repeats the interval: the loop takes it.
                greed = .possessive
            }
            node = .repetition(node, minimum: minimum, maximum: maximum, greed)
        }
        return node
    }

    private mutating func quantifier() throws -> (minimum: Int, maximum: Int?, isInterval: Bool)? {
        if take("?") { return (0, 1, false) }
        if take("*") { return (0, nil, false) }
        if take("+") { return (1, nil, false) }
        guard next == "{" else { return nil }
        position += 1
        let lower = try count()
        var upper = lower
        if take(",") { upper = try count() }
        let hasComma = scalars[position - 1] == "," || upper != lower
        guard take("}"), lower != nil || upper != nil else {
            throw failure(.unsupported, "a '{' that is no interval")
        }
        let minimum = lower ?? 0
        if let upper, upper < minimum {
            throw failure(.malformed, "an interval that runs backwards")
        }
        return (minimum, hasComma ? upper : lower, true)
    }

    private mutating func count() throws -> Int? {
        var value: Int?
        while let digit = next, ("0"..."9").contains(digit) {
            position += 1
            value = (value ?? 0) * 10 + Int(digit.value - 0x30)
            guard let value, value <= Self.maximumRepeats else {
                throw failure(.unsupported, "more than \(Self.maximumRepeats) repetitions")
            }
        }
        return value
    }

    private mutating func group() throws -> PatternNode {
        if take("?=") { return .lookahead(try groupBody(), negative: false) }
        if take("?!") { return .lookahead(try groupBody(), negative: true) }
        if take("?>") { return .atomic(try groupBody()) }
        if take("?i:") {
            let outer = ignoresCase
            ignoresCase = true
            defer { ignoresCase = outer }
            return try groupBody()
        }
        if !take("?:"), next == "?" { throw failure(.unsupported, "an unknown group '(?…'") }
        return try groupBody()
    }

    private mutating func groupBody() throws -> PatternNode {
        let node = try alternation()
        guard take(")") else { throw failure(.malformed, "a '(' without its ')'") }
        return node
    }

    // MARK: - Single scalars

    private mutating func atom() throws -> PatternNode {
        let scalar = try take()
        switch scalar {
        case "(": return try group()
        case "[": return .set(try bracketed())
        case ".": return .set(ScalarSet([.range(0x0A...0x0A)], negated: true))
        case "^": return .anchor(.lineStart)
        case "$": return .anchor(.lineEnd)
        case "?", "*", "+": throw failure(.malformed, "nothing to repeat")
        case "{": throw failure(.unsupported, "a '{' that is no interval")
        case "\\":
            switch next {
            case "A": return anchor(.textStart)
            case "z": return anchor(.textEnd)
            case "b": return anchor(.wordBoundary)
            case "B": return anchor(.notWordBoundary)
            default: return .set(ScalarSet([try escape()], ignoresCase: ignoresCase))
            }
        default: return .set(literal(scalar))
        }
    }

    private mutating func anchor(_ anchor: PatternAnchor) -> PatternNode {
        position += 1
        return .anchor(anchor)
    }

    private func literal(_ scalar: Unicode.Scalar) -> ScalarSet {
        ScalarSet([.range(scalar.value...scalar.value)], ignoresCase: ignoresCase)
    }

    /// A class, after its `[`.
    private mutating func bracketed() throws -> ScalarSet {
        let isNegated = take("^")
        var parts: [ScalarSet.Part] = []
        if next == "]" { throw failure(.unsupported, "a class that begins with ']'") }
        while true {
            if take("]") { break }
            if next == "[" { throw failure(.unsupported, "a class within a class") }
            if take("&&") { throw failure(.unsupported, "an intersection of classes") }
            let part = try classPart()
            guard case .range(let low) = part, low.count == 1, next == "-",
                position + 1 < scalars.count, scalars[position + 1] != "]"
            else {
                parts.append(part)
                continue
            }
            position += 1
            if next == "[" { throw failure(.unsupported, "a class within a class") }
            guard case .range(let high) = try classPart(), high.count == 1,
                low.lowerBound <= high.lowerBound
            else { throw failure(.malformed, "a range that does not run upwards") }
            parts.append(.range(low.lowerBound...high.lowerBound))
        }
        return ScalarSet(parts, negated: isNegated, ignoresCase: ignoresCase)
    }

    private mutating func classPart() throws -> ScalarSet.Part {
        let scalar = try take()
        return scalar == "\\" ? try escape() : .range(scalar.value...scalar.value)
    }

    /// What follows a backslash, within or without a class.
    private mutating func escape() throws -> ScalarSet.Part {
        let scalar = try take()
        switch scalar {
        case "s": return .whitespace(true)
        case "S": return .whitespace(false)
        case "w": return .word(true)
        case "W": return .word(false)
        case "d": return .categories(try categories("Nd"))
        case "D": return .categories(~(try categories("Nd")) & Unicode.GeneralCategory.allMask)
        case "p", "P": return .categories(try property(negated: scalar == "P"))
        case "n": return .range(0x0A...0x0A)
        case "r": return .range(0x0D...0x0D)
        case "t": return .range(0x09...0x09)
        case "f": return .range(0x0C...0x0C)
        case "v": return .range(0x0B...0x0B)
        case "x": return try hexadecimal(take("{") ? nil : 2)
        case "u": return try hexadecimal(4)
        case "a"..."z", "A"..."Z", "0"..."9":
            throw failure(.unsupported, "the escape '\\\(scalar)'")
        default: return .range(scalar.value...scalar.value)
        }
    }

    /// `\p{Name}`, `\p{^Name}`, after the `p`.
    private mutating func property(negated: Bool) throws -> UInt32 {
        guard take("{") else { throw failure(.malformed, "a \\p without its '{'") }
        let isInverse = take("^")
        var name = ""
        while let scalar = next, scalar != "}" {
            name.unicodeScalars.append(scalar)
            position += 1
        }
        guard take("}") else { throw failure(.malformed, "a \\p{ without its '}'") }
        let mask = try categories(name)
        return negated != isInverse ? ~mask & Unicode.GeneralCategory.allMask : mask
    }

    private func categories(_ name: String) throws -> UInt32 {
        guard let mask = Unicode.GeneralCategory.mask(of: name) else {
            throw failure(.unsupported, "the property '\(name)'")
        }
        return mask
    }

    /// `digits` digits, or up to a closing brace when that is nil.
    private mutating func hexadecimal(_ digits: Int?) throws -> ScalarSet.Part {
        var value: UInt32 = 0
        var taken = 0
        while taken < digits ?? 8, let digit = next.flatMap({ Character($0).hexDigitValue }) {
            value = value << 4 | UInt32(digit)
            taken += 1
            position += 1
        }
        guard digits == nil ? taken > 0 && take("}") : taken == digits, Unicode.Scalar(value) != nil
        else { throw failure(.malformed, "a bad hexadecimal escape") }
        return .range(value...value)
    }
}
