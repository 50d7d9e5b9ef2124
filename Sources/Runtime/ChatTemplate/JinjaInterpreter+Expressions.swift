/// The values of expressions. One method per kind: a single large one would need a stack frame for
/// all of them at every level.
extension JinjaInterpreter {
    /// The value of an expression; a filter without input applies to `blockText`.
    func evaluate(_ expression: JinjaExpression, blockText: JinjaValue? = nil) throws -> JinjaValue
    {
        try spend()
        try descend()
        defer { ascend() }
        switch expression {
        case .none: return .none
        case .bool(let value): return .bool(value)
        case .int(let value): return .int(value)
        case .float(let value): return .float(value)
        case .string(let value): return .string(value)
        case .name(let name): return lookUp(name)
        case .list(let elements): return .list(try elements.map { try evaluate($0) })
        case .tuple(let elements): return .tuple(try elements.map { try evaluate($0) })
        case .dictionary(let pairs): return try dictionary(pairs)
        case .attribute(let object, let name): return try attribute(name, of: evaluate(object))
        case .item(let object, let index): return try item(evaluate(index), of: evaluate(object))
        case .slice(let object, let slice): return try sliced(evaluate(object), slice)
        case .call(let callee, let call): return try self.call(evaluate(callee), evaluate(call))
        case .filter(let input, let name, let call):
            return try filter(input, name, call, blockText: blockText)
        case .test(let input, let name, let call):
            return .bool(try test(name, evaluate(input), evaluate(call)))
        case .not(let value): return .bool(try !evaluate(value).isTrue)
        case .sign(let value, let negative): return try signed(evaluate(value), negative: negative)
        case .and(let left, let right): return try both(left, right)
        case .or(let left, let right): return try either(left, right)
        case .arithmetic(let symbol, let left, let right):
            return try arithmetic(symbol, evaluate(left), evaluate(right))
        case .concatenation(let parts): return try concatenation(parts)
        case .comparison(let first, let rest): return try comparison(first, rest)
        case .conditional(let value, let test, let otherwise):
            return try conditional(value, test, otherwise)
        }
    }

    private func dictionary(
        _ pairs: [(key: JinjaExpression, value: JinjaExpression)]
    ) throws
        -> JinjaValue
    {
        var dictionary = JinjaDictionary()
        for pair in pairs { try dictionary.set(evaluate(pair.key), evaluate(pair.value)) }
        return .dictionary(dictionary)
    }

    private func both(_ left: JinjaExpression, _ right: JinjaExpression) throws -> JinjaValue {
        let value = try evaluate(left)
        return value.isTrue ? try evaluate(right) : value
    }

    private func either(_ left: JinjaExpression, _ right: JinjaExpression) throws -> JinjaValue {
        let value = try evaluate(left)
        return value.isTrue ? value : try evaluate(right)
    }

    private func conditional(
        _ value: JinjaExpression, _ test: JinjaExpression, _ otherwise: JinjaExpression?
    ) throws -> JinjaValue {
        if try evaluate(test).isTrue { return try evaluate(value) }
        guard let otherwise else {
            return .undefined("the inline if-expression evaluated to false and no else was given")
        }
        return try evaluate(otherwise)
    }

    private func concatenation(_ parts: [JinjaExpression]) throws -> JinjaValue {
        var text = ""
        for part in parts { text += try self.text(of: evaluate(part)) }
        return .string(text)
    }

    private func comparison(
        _ first: JinjaExpression, _ rest: [JinjaComparand]
    ) throws -> JinjaValue {
        var left = try evaluate(first)
        for step in rest {
            let right = try evaluate(step.operand)
            try spend(on: left)
            try spend(on: right)
            guard try JinjaValue.compare(left, step.comparison, right) else { return .bool(false) }
            left = right
        }
        return .bool(true)
    }

    // MARK: Calls

    func evaluate(_ call: JinjaCall) throws -> JinjaArguments {
        var arguments = JinjaArguments()
        arguments.positional = try call.positional.map { try evaluate($0) }
        arguments.keywords = try call.keywords.map { ($0.name, try evaluate($0.value)) }
        if let spread = call.spread { arguments.positional += try evaluate(spread).elements() }
        if let spread = call.spreadKeywords {
            guard case .dictionary(let dictionary) = try evaluate(spread) else {
                throw JinjaFailure("argument after ** must be a mapping")
            }
            for item in dictionary.items {
                arguments.keywords.append((try item.key.requireString("**"), item.value))
            }
        }
        return arguments
    }

    func call(_ callee: JinjaValue, _ arguments: JinjaArguments) throws -> JinjaValue {
        switch callee {
        case .function(let function): return try function.body(self, arguments)
        case .undefined(let undefined): throw JinjaFailure(undefined.problem)
        default: throw JinjaFailure("'\(callee.typeName)' object is not callable")
        }
    }

    private func filter(
        _ input: JinjaExpression?, _ name: String, _ call: JinjaCall, blockText: JinjaValue?
    ) throws -> JinjaValue {
        // the chain's first filter has the input, so the block's text goes down to it
        let value = try input.map { try evaluate($0, blockText: blockText) } ?? blockText
        guard let value else { preconditionFailure("the parser gives every filter an input") }
        return try filter(name, value, evaluate(call))
    }

    func filter(
        _ name: String, _ value: JinjaValue, _ arguments: JinjaArguments
    ) throws -> JinjaValue {
        guard let filter = JinjaFilters.all[name] else {
            throw JinjaFailure("no filter named '\(name)'")
        }
        return try filter(self, value, arguments)
    }

    func test(_ name: String, _ value: JinjaValue, _ arguments: JinjaArguments) throws -> Bool {
        guard let test = JinjaTests.all[name] else { throw JinjaFailure("no test named '\(name)'") }
        try spend(on: value)
        return try test(value, arguments)
    }
}
