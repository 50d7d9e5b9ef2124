/// Builds the statements of a template; `JinjaParser+Expressions.swift` reads what stands in them.
struct JinjaParser {
    /// Blocks in blocks and parentheses in parentheses: beyond what a template needs, within what the
    /// stack of a thread holds.
    static let maximumDepth = 100

    private let tokens: [(token: JinjaLexer.Token, line: Int)]
    private var position = 0
    var depth = 0
    /// Names read since the innermost macro began.
    var names: Set<String> = []
    private var loops = 0

    /// The statements of `source`.
    static func statements(of source: String) throws -> [JinjaStatement] {
        var parser = JinjaParser(tokens: try JinjaLexer.tokens(of: source))
        let (body, end) = try parser.body(until: [])
        precondition(end.isEmpty, "nothing ends a template but its end")
        return body
    }

    private init(tokens: [(token: JinjaLexer.Token, line: Int)]) { self.tokens = tokens }

    // MARK: Tokens

    var token: JinjaLexer.Token { tokens[position].token }
    var line: Int { tokens[position].line }

    /// The token after the present one.
    var following: JinjaLexer.Token { tokens[min(position + 1, tokens.count - 1)].token }

    mutating func advance() { position = min(position + 1, tokens.count - 1) }

    func failure(_ message: String) -> JinjaFailure { JinjaFailure(message, line: line) }

    func isSymbol(_ symbol: String) -> Bool { token == .symbol(symbol) }

    func isName(_ name: String) -> Bool { token == .name(name) }

    mutating func skip(_ symbol: String) -> Bool {
        guard isSymbol(symbol) else { return false }
        advance()
        return true
    }

    mutating func skipName(_ name: String) -> Bool {
        guard isName(name) else { return false }
        advance()
        return true
    }

    mutating func expect(_ symbol: String) throws {
        guard skip(symbol) else { throw failure("expected '\(symbol)', got \(describe(token))") }
    }

    mutating func expectName() throws -> String {
        guard case .name(let name) = token else {
            throw failure("expected a name, got \(describe(token))")
        }
        advance()
        return name
    }

    func describe(_ token: JinjaLexer.Token) -> String {
        switch token {
        case .text: "text"
        case .outputBegin: "'{{'"
        case .outputEnd: "'}}'"
        case .blockBegin: "'{%'"
        case .blockEnd: "'%}'"
        case .name(let name): "'\(name)'"
        case .string: "a string"
        case .int, .float: "a number"
        case .symbol(let symbol): "'\(symbol)'"
        case .end: "the end of the template"
        }
    }

    /// Runs `body` one level deeper.
    mutating func nested<Result>(_ body: (inout JinjaParser) throws -> Result) throws -> Result {
        depth += 1
        defer { depth -= 1 }
        guard depth <= Self.maximumDepth else {
            throw failure("nested deeper than \(Self.maximumDepth) levels")
        }
        return try body(&self)
    }

    // MARK: Statements

    /// Statements up to a tag whose name is one of `ends`; the name, which has been read.
    private mutating func body(until ends: Set<String>) throws -> ([JinjaStatement], end: String) {
        try nested { try $0.statements(until: ends) }
    }

    private mutating func statements(
        until ends: Set<String>
    ) throws
        -> ([JinjaStatement], end: String)
    {
        var statements: [JinjaStatement] = []
        while true {
            let line = line
            switch token {
            case .text(let text):
                advance()
                statements.append(JinjaStatement(line: line, kind: .text(text)))
            case .outputBegin:
                advance()
                let expression = try tuple()
                guard token == .outputEnd else {
                    throw failure("expected '}}', got \(describe(token))")
                }
                advance()
                statements.append(JinjaStatement(line: line, kind: .output(expression)))
            case .blockBegin:
                advance()
                let name = try expectName()
                if ends.contains(name) { return (statements, name) }
                statements.append(JinjaStatement(line: line, kind: try statement(name)))
                try blockEnd()
            case .end where ends.isEmpty: return (statements, "")
            default:
                throw failure(
                    "expected \(ends.sorted().joined(separator: " or ")), got \(describe(token))")
            }
        }
    }

    private mutating func blockEnd() throws {
        guard token == .blockEnd else { throw failure("expected '%}', got \(describe(token))") }
        advance()
    }

    /// The body of a block whose tag has been read up to its "%}".
    private mutating func block(until ends: Set<String>) throws -> ([JinjaStatement], end: String) {
        _ = skip(":")
        try blockEnd()
        return try body(until: ends)
    }

    private mutating func statement(_ name: String) throws -> JinjaStatement.Kind {
        switch name {
        case "if": return try condition()
        case "for": return try loop()
        case "set": return try set()
        case "macro":
            let name = try expectName()
            return .macro(try macro(name, end: "endmacro"))
        case "call": return try callBlock()
        case "filter":
            let filter = try filterChain(nil)
            return .filterBlock(filter, body: try block(until: ["endfilter"]).0)
        case "with": return try with()
        case "generation": return .generation(try block(until: ["endgeneration"]).0)
        case "break", "continue":
            guard loops > 0 else { throw failure("'\(name)' outside a loop") }
            return name == "break" ? .break : .continue
        case "extends", "include", "import", "from", "block", "autoescape", "print":
            throw failure("the statement '\(name)' is not supported in chat templates")
        default: throw failure("unknown statement '\(name)'")
        }
    }

    private mutating func condition() throws -> JinjaStatement.Kind {
        var branches: [(test: JinjaExpression, body: [JinjaStatement])] = []
        var otherwise: [JinjaStatement] = []
        var end = "elif"
        while end == "elif" {
            let test = try tuple(withConditional: false)
            let (body, next) = try block(until: ["elif", "else", "endif"])
            branches.append((test, body))
            end = next
        }
        if end == "else" { otherwise = try block(until: ["endif"]).0 }
        return .condition(branches, otherwise: otherwise)
    }

    private mutating func loop() throws -> JinjaStatement.Kind {
        let target = try target(endsAt: "in")
        guard skipName("in") else { throw failure("expected 'in', got \(describe(token))") }
        let iterable = try tuple(withConditional: false, endsAt: "recursive")
        let test = skipName("if") ? try expression() : nil
        if isName("recursive") { throw failure("recursive loops are not supported") }
        loops += 1
        let (body, end) = try block(until: ["endfor", "else"])
        loops -= 1
        let otherwise = end == "else" ? try block(until: ["endfor"]).0 : []
        return .loop(
            JinjaLoop(
                target: target, iterable: iterable, test: test, body: body, otherwise: otherwise))
    }

    private mutating func set() throws -> JinjaStatement.Kind {
        let target = try target(withAttribute: true)
        if skip("=") { return .set(target, try tuple()) }
        let filter = isSymbol("|") ? try filterChain(nil) : nil
        return .setBlock(target, filter: filter, body: try block(until: ["endset"]).0)
    }

    private mutating func with() throws -> JinjaStatement.Kind {
        var variables: [(target: JinjaTarget, value: JinjaExpression)] = []
        while token != .blockEnd, !isSymbol(":") {
            if !variables.isEmpty { try expect(",") }
            let target = try target()
            try expect("=")
            variables.append((target, try expression()))
        }
        return .with(variables, body: try block(until: ["endwith"]).0)
    }

    private mutating func callBlock() throws -> JinjaStatement.Kind {
        let parameters = isSymbol("(") ? try signature() : []
        guard case .call(let callee, let call) = try expression() else {
            throw failure("expected a call")
        }
        let caller = try macro("caller", parameters: parameters, end: "endcall")
        return .callBlock(callee, call, caller: caller)
    }

    // MARK: Macros

    private mutating func macro(
        _ name: String, parameters: [(name: String, fallback: JinjaExpression?)]? = nil, end: String
    ) throws -> JinjaMacro {
        let outerNames = names
        let outerLoops = loops
        names = []
        loops = 0
        let parameters = try parameters ?? signature()
        let (body, _) = try block(until: [end])
        let macro = JinjaMacro(
            name: name, parameters: parameters, body: body,
            namesVarargs: names.contains("varargs"), namesKwargs: names.contains("kwargs"),
            namesCaller: names.contains("caller"))
        names = outerNames
        loops = outerLoops
        return macro
    }

    private mutating func signature() throws -> [(name: String, fallback: JinjaExpression?)] {
        var parameters: [(name: String, fallback: JinjaExpression?)] = []
        try expect("(")
        while !isSymbol(")") {
            if !parameters.isEmpty { try expect(",") }
            let name = try expectName()
            let fallback = skip("=") ? try expression() : nil
            if fallback == nil, parameters.last?.fallback != nil {
                throw failure("a parameter without a default after one with a default")
            }
            parameters.append((name, fallback))
        }
        try expect(")")
        return parameters
    }

    // MARK: Targets

    /// A name, a tuple of names, or `namespace.attribute`.
    private mutating func target(
        withAttribute: Bool = false, endsAt end: String? = nil
    ) throws
        -> JinjaTarget
    {
        try nested { parser in
            var targets: [JinjaTarget] = []
            var isTuple = false
            while true {
                if let end, !targets.isEmpty, parser.isName(end) { break }
                if !targets.isEmpty, parser.isSymbol("=") || parser.isSymbol(")") { break }
                targets.append(try parser.singleTarget(withAttribute: withAttribute))
                guard parser.skip(",") else { break }
                isTuple = true
            }
            return isTuple ? .tuple(targets) : targets[0]
        }
    }

    private mutating func singleTarget(withAttribute: Bool) throws -> JinjaTarget {
        if skip("(") {
            let inner = try target()
            try expect(")")
            return inner
        }
        let name = try expectName()
        guard !["true", "false", "none", "True", "False", "None"].contains(name) else {
            throw failure("cannot assign to '\(name)'")
        }
        guard withAttribute, skip(".") else { return .name(name) }
        return .attribute(name, try expectName())
    }
}
