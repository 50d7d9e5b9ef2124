/// Expressions by jinja2's precedence, weakest first: if, or, and, not, comparisons, + -, ~, * / // %,
/// **, sign, then what follows a value: calls, subscripts, filters and tests.
extension JinjaParser {
    /// A long chain of operators makes a tree as deep, and evaluating and releasing it recurse.
    private static let longestChain = 200

    /// Expressions separated by commas, or one that stands alone.
    mutating func tuple(
        withConditional: Bool = true, endsAt end: String? = nil
    ) throws
        -> JinjaExpression
    {
        var elements: [JinjaExpression] = []
        var isTuple = false
        while !isTupleEnd(end) {
            elements.append(try expression(withConditional: withConditional))
            guard skip(",") else { break }
            isTuple = true
        }
        if isTuple { return .tuple(elements) }
        guard let single = elements.first else {
            throw failure("expected an expression, got \(describe(token))")
        }
        return single
    }

    private func isTupleEnd(_ end: String?) -> Bool {
        if let end, isName(end) { return true }
        return token == .outputEnd || token == .blockEnd || isSymbol(")")
    }

    mutating func expression(withConditional: Bool = true) throws -> JinjaExpression {
        try nested { try withConditional ? $0.conditional() : $0.or() }
    }

    private mutating func conditional() throws -> JinjaExpression {
        var value = try or()
        var chain = 0
        while skipName("if") {
            try link(&chain)
            let test = try or()
            let otherwise = skipName("else") ? try nested { try $0.conditional() } : nil
            value = .conditional(value, test: test, otherwise: otherwise)
        }
        return value
    }

    private func link(_ chain: inout Int) throws {
        chain += 1
        guard chain <= Self.longestChain else {
            throw failure("an expression of more than \(Self.longestChain) operators in a row")
        }
    }

    private mutating func or() throws -> JinjaExpression {
        var left = try and()
        var chain = 0
        while skipName("or") {
            try link(&chain)
            left = .or(left, try and())
        }
        return left
    }

    private mutating func and() throws -> JinjaExpression {
        var left = try not()
        var chain = 0
        while skipName("and") {
            try link(&chain)
            left = .and(left, try not())
        }
        return left
    }

    private mutating func not() throws -> JinjaExpression {
        guard skipName("not") else { return try comparison() }
        return .not(try nested { try $0.not() })
    }

    private mutating func comparison() throws -> JinjaExpression {
        let first = try sum()
        var rest: [JinjaComparand] = []
        while let comparison = comparisonOperator() {
            rest.append(JinjaComparand(comparison: comparison, operand: try sum()))
        }
        return rest.isEmpty ? first : .comparison(first, rest)
    }

    private mutating func comparisonOperator() -> JinjaComparison? {
        switch token {
        case .symbol(let symbol):
            guard let comparison = JinjaComparison(rawValue: symbol) else { return nil }
            advance()
            return comparison
        case .name("in"):
            advance()
            return .contained
        case .name("not") where following == .name("in"):
            advance()
            advance()
            return .notContained
        default: return nil
        }
    }

    private mutating func sum() throws -> JinjaExpression {
        try arithmetic([.add, .subtract]) { try $0.concatenation() }
    }

    private mutating func concatenation() throws -> JinjaExpression {
        var parts = [try product()]
        while skip("~") { parts.append(try product()) }
        return parts.count == 1 ? parts[0] : .concatenation(parts)
    }

    private mutating func product() throws -> JinjaExpression {
        try arithmetic([.multiply, .divide, .floorDivide, .modulo]) { try $0.power() }
    }

    // To the left, unlike Python: jinja2 reads 2 ** 3 ** 2 as 64.
    private mutating func power() throws -> JinjaExpression {
        try arithmetic([.power]) { try $0.unary() }
    }

    private mutating func arithmetic(
        _ operators: [JinjaArithmetic],
        operand: (inout JinjaParser) throws -> JinjaExpression
    ) throws -> JinjaExpression {
        var left = try operand(&self)
        var chain = 0
        while case .symbol(let symbol) = token, let found = JinjaArithmetic(rawValue: symbol),
            operators.contains(found)
        {
            advance()
            try link(&chain)
            left = .arithmetic(found, left, try operand(&self))
        }
        return left
    }

    /// A sign binds tighter than a filter: -1|abs is (-1)|abs.
    private mutating func unary(withFilters: Bool = true) throws -> JinjaExpression {
        var value: JinjaExpression
        if isSymbol("-") || isSymbol("+") {
            let negative = isSymbol("-")
            advance()
            value = .sign(try nested { try $0.unary(withFilters: false) }, negative: negative)
        } else {
            value = try primary()
        }
        var chain = 0
        while true {
            try link(&chain)
            if isSymbol(".") || isSymbol("[") {
                value = try subscripted(value)
            } else if isSymbol("(") {
                value = .call(value, try call())
            } else {
                break
            }
        }
        return withFilters ? try filtered(value) : value
    }

    private mutating func filtered(_ value: JinjaExpression) throws -> JinjaExpression {
        var value = value
        var chain = 0
        while true {
            try link(&chain)
            if isSymbol("|") {
                value = try filterChain(value)
            } else if skipName("is") {
                value = try test(value)
            } else if isSymbol("(") {
                value = .call(value, try call())
            } else {
                return value
            }
        }
    }

    /// `|name(…)|name(…)`; without a value the first bar is left out, as in `{% filter name %}`.
    mutating func filterChain(_ input: JinjaExpression?) throws -> JinjaExpression {
        var value = input
        var chain = 0
        if input == nil { _ = skip("|") } else { try expect("|") }
        repeat {
            try link(&chain)
            let name = try expectName()
            value = .filter(value, name, isSymbol("(") ? try call() : JinjaCall())
        } while skip("|")
        guard let value else { preconditionFailure("a chain has one filter at least") }
        return value
    }

    private mutating func test(_ value: JinjaExpression) throws -> JinjaExpression {
        let isNegated = skipName("not")
        let name = try expectName()
        var arguments = JinjaCall()
        if isSymbol("(") {
            arguments = try call()
        } else if startsTestArgument() {
            if isName("is") { throw failure("tests cannot be chained with 'is'") }
            var argument = try primary()
            var chain = 0
            while isSymbol(".") || isSymbol("[") || isSymbol("(") {
                try link(&chain)
                argument =
                    isSymbol("(") ? .call(argument, try call()) : try subscripted(argument)
            }
            arguments.positional = [argument]
        }
        let test = JinjaExpression.test(value, name, arguments)
        return isNegated ? .not(test) : test
    }

    private func startsTestArgument() -> Bool {
        switch token {
        case .name(let name): !["else", "or", "and"].contains(name)
        case .string, .int, .float, .symbol("["), .symbol("{"): true
        default: false
        }
    }

    private mutating func primary() throws -> JinjaExpression {
        let token = token
        switch token {
        case .name(let name):
            advance()
            switch name {
            case "true", "True": return .bool(true)
            case "false", "False": return .bool(false)
            case "none", "None": return .none
            default:
                names.insert(name)
                return .name(name)
            }
        case .string(var text):
            advance()
            // adjacent strings are one
            while case .string(let more) = self.token {
                text += more
                advance()
            }
            return .string(text)
        case .int(let value):
            advance()
            return .int(value)
        case .float(let value):
            advance()
            return .float(value)
        case .symbol("("):
            advance()
            let value = isSymbol(")") ? .tuple([]) : try nested { try $0.tuple() }
            try expect(")")
            return value
        case .symbol("["):
            advance()
            return .list(try nested { try $0.elements(until: "]") { try $0.expression() } })
        case .symbol("{"):
            advance()
            return .dictionary(
                try nested { parser in
                    try parser.elements(until: "}") { parser in
                        let key = try parser.expression()
                        try parser.expect(":")
                        return (key, try parser.expression())
                    }
                })
        default: throw failure("expected an expression, got \(describe(token))")
        }
    }

    private mutating func elements<Element>(
        until end: String, _ element: (inout JinjaParser) throws -> Element
    ) throws -> [Element] {
        var elements: [Element] = []
        while !isSymbol(end) {
            if !elements.isEmpty { try expect(",") }
            if isSymbol(end) { break }
            elements.append(try element(&self))
        }
        try expect(end)
        return elements
    }

    private mutating func subscripted(_ value: JinjaExpression) throws -> JinjaExpression {
        if skip(".") {
            if case .int(let index) = token {
                advance()
                return .item(value, .int(index))
            }
            return .attribute(value, try expectName())
        }
        try expect("[")
        return try nested { parser in
            var slice = JinjaSlice()
            if !parser.isSymbol(":") {
                let index = try parser.tuple(orEndsAt: "]")
                if parser.skip("]") { return .item(value, index) }
                slice.start = index
            }
            try parser.expect(":")
            if !parser.isSymbol(":"), !parser.isSymbol("]") { slice.stop = try parser.expression() }
            if parser.skip(":"), !parser.isSymbol("]") { slice.step = try parser.expression() }
            try parser.expect("]")
            return .slice(value, slice)
        }
    }

    private mutating func tuple(orEndsAt end: String) throws -> JinjaExpression {
        let first = try expression()
        guard isSymbol(",") else { return first }
        var elements = [first]
        while skip(","), !isSymbol(end) { elements.append(try expression()) }
        return .tuple(elements)
    }

    private mutating func call() throws -> JinjaCall {
        var call = JinjaCall()
        try expect("(")
        var isFirst = true
        while !isSymbol(")") {
            if !isFirst { try expect(",") }
            isFirst = false
            if isSymbol(")") { break }
            if skip("**") {
                guard call.spreadKeywords == nil else { throw failure("'**' twice in a call") }
                call.spreadKeywords = try expression()
            } else if skip("*") {
                guard call.spread == nil, call.spreadKeywords == nil else {
                    throw failure("'*' out of place in a call")
                }
                call.spread = try expression()
            } else if case .name(let name) = token, following == .symbol("=") {
                guard call.spreadKeywords == nil else { throw failure("a keyword after '**'") }
                advance()
                advance()
                call.keywords.append((name, try expression()))
            } else {
                guard call.keywords.isEmpty, call.spread == nil, call.spreadKeywords == nil else {
                    throw failure("a positional argument after a keyword")
                }
                call.positional.append(try expression())
            }
        }
        try expect(")")
        return call
    }
}
