/// Renders the statements of a template; `JinjaInterpreter+Expressions.swift` computes values.
///
/// A template is a program from a stranger. Three bounds keep it from doing harm: work (statements,
/// values and the size of what they make), depth (nested evaluation) and nesting of values.
final class JinjaInterpreter {
    /// Units of work for one rendering: a node of the syntax tree each, and a sixteenth per byte made.
    ///
    /// A long chat takes some hundred thousand; the bound is a second, and 64 MB of text.
    static let maximumWork = 4_000_000
    /// Nested evaluations: recursive macros for nested schemas use some dozens.
    static let maximumDepth = 300
    /// Lists in lists and the like, as a template builds them.
    static let maximumNesting = 200

    private(set) var output = ""
    /// Where in `output` the text of generation blocks lies, in bytes; nil once one has stood in a macro or
    /// in the body of a `set`, whose text may go anywhere.
    private(set) var generated: [Range<Int>]? = []
    private(set) var line = 1
    private var work = 0
    private var depth = 0
    /// Texts that are being captured around the present statement.
    private var captures = 0
    var scope: JinjaScope
    /// What can hold itself through a macro or a namespace, emptied at the end so that it is released.
    private var closures: [JinjaScope] = []
    private var namespaces: [JinjaNamespace] = []

    init(context: [String: JinjaValue]) {
        let globals = JinjaScope(parent: nil)
        globals.variables = JinjaGlobals.all
        let given = JinjaScope(parent: globals)
        given.variables = context
        scope = JinjaScope(parent: given)
    }

    /// The text that `statements` write.
    func render(_ statements: [JinjaStatement]) throws -> String {
        defer {
            for scope in closures { scope.variables = [:] }
            for namespace in namespaces { namespace.attributes = [:] }
        }
        _ = try run(statements)
        return output
    }

    // MARK: Bounds

    /// Accounts for `bytes` made or looked through, or for one step.
    func spend(bytes: Int = 0) throws {
        work += 1 + bytes / 16
        guard work <= Self.maximumWork else {
            throw JinjaFailure("the template does more work than a chat needs: it was stopped")
        }
    }

    func descend() throws {
        depth += 1
        guard depth <= Self.maximumDepth else {
            throw JinjaFailure(
                "nested deeper than \(Self.maximumDepth) levels: is a macro calling itself?")
        }
    }

    func ascend() { depth -= 1 }

    /// Accounts for a walk through all of `value`, which may be far larger than what it is made of:
    /// a list can hold one long string, or another list, many times.
    func spend(on value: JinjaValue, level: Int = 0) throws {
        try spend()
        guard level <= Self.maximumNesting else {
            throw JinjaFailure("a value nested deeper than \(Self.maximumNesting) levels")
        }
        switch value {
        case .list(let elements), .tuple(let elements):
            for element in elements { try spend(on: element, level: level + 1) }
        case .dictionary(let dictionary):
            for item in dictionary.items {
                try spend(on: item.key, level: level + 1)
                try spend(on: item.value, level: level + 1)
            }
        case .string(let text): try spend(bytes: text.utf8.count)
        default: break
        }
    }

    /// Python's `str()` of a value.
    func text(of value: JinjaValue) throws -> String {
        try spend(on: value)
        return value.text
    }

    // MARK: Statements

    enum Flow {
        case next
        case `break`
        case `continue`
    }

    private func run(_ statements: [JinjaStatement]) throws -> Flow {
        try descend()
        defer { ascend() }
        for statement in statements {
            line = statement.line
            try spend()
            let flow = try run(statement.kind)
            guard flow == .next else { return flow }
        }
        return .next
    }

    private func run(_ statement: JinjaStatement.Kind) throws -> Flow {
        switch statement {
        case .text(let text): try write(text)
        case .output(let expression): try write(text(of: evaluate(expression)))
        case .condition(let branches, let otherwise): return try runCondition(branches, otherwise)
        case .loop(let loop): try run(loop)
        case .set(let target, let expression): try assign(evaluate(expression), to: target)
        case .setBlock(let target, let filter, let body):
            try assign(filtered(.string(try captured(body)), filter), to: target)
        case .macro(let macro):
            closures.append(scope)
            scope.variables[macro.name] = .function(function(macro))
        case .callBlock(let callee, let call, let caller):
            var arguments = try evaluate(call)
            arguments.keywords.append(("caller", .function(function(caller))))
            try write(text(of: self.call(evaluate(callee), arguments)))
        case .filterBlock(let filter, let body):
            try write(text(of: filtered(.string(try captured(body)), filter)))
        case .with(let variables, let body):
            // every value is computed before the first name is bound
            let values = try variables.map { try evaluate($0.value) }
            return try inNewScope {
                for (variable, value) in zip(variables, values) {
                    try assign(value, to: variable.target)
                }
                return try run(body)
            }
        case .generation(let body):
            let start = output.utf8.count
            try write(captured(body))
            if captures == 0 {
                generated?.append(start..<output.utf8.count)
            } else {
                generated = nil
            }
        case .break: return .break
        case .continue: return .continue
        }
        return .next
    }

    private func write(_ text: String) throws {
        try spend(bytes: text.utf8.count)
        output += text
    }

    private func runCondition(
        _ branches: [(test: JinjaExpression, body: [JinjaStatement])], _ otherwise: [JinjaStatement]
    ) throws -> Flow {
        for branch in branches where try evaluate(branch.test).isTrue {
            return try run(branch.body)
        }
        return try run(otherwise)
    }

    private func run(_ loop: JinjaLoop) throws {
        var elements = try evaluate(loop.iterable).elements()
        try spend(bytes: elements.count)
        if let test = loop.test {
            elements = try elements.filter { element in
                try inNewScope {
                    try assign(element, to: loop.target)
                    return try evaluate(test).isTrue
                }
            }
        }
        guard !elements.isEmpty else { return _ = try inNewScope { try run(loop.otherwise) } }
        let state = JinjaLoopState(elements)
        for (index, element) in elements.enumerated() {
            state.index = index
            try spend()
            // a variable set in the body is forgotten at the next iteration
            let flow = try inNewScope {
                scope.variables["loop"] = .loop(state)
                try assign(element, to: loop.target)
                return try run(loop.body)
            }
            if flow == .break { break }
        }
    }

    func inNewScope<Result>(parent: JinjaScope? = nil, _ body: () throws -> Result) throws -> Result
    {
        let outer = scope
        scope = JinjaScope(parent: parent ?? outer)
        defer { scope = outer }
        return try body()
    }

    /// What `statements` write, in a scope of their own.
    private func captured(_ statements: [JinjaStatement]) throws -> String {
        let outer = output
        output = ""
        captures += 1
        defer {
            output = outer
            captures -= 1
        }
        _ = try inNewScope { try run(statements) }
        return output
    }

    private func filtered(_ text: JinjaValue, _ filter: JinjaExpression?) throws -> JinjaValue {
        guard let filter else { return text }
        return try evaluate(filter, blockText: text)
    }

    private func assign(_ value: JinjaValue, to target: JinjaTarget) throws {
        switch target {
        case .name(let name):
            try spend(on: value)
            scope.variables[name] = value
        case .attribute(let name, let attribute):
            try spend(on: value)
            guard case .namespace(let namespace) = lookUp(name) else {
                throw JinjaFailure("cannot assign attribute on non-namespace object")
            }
            try JinjaGlobals.requirePublic(attribute)
            namespace.attributes[attribute] = value
        case .tuple(let targets):
            let elements = try value.elements()
            guard elements.count == targets.count else {
                throw JinjaFailure(
                    "cannot unpack \(elements.count) values into \(targets.count) names")
            }
            for (target, element) in zip(targets, elements) { try assign(element, to: target) }
        }
    }

    func lookUp(_ name: String) -> JinjaValue {
        var next: JinjaScope? = scope
        while let scope = next {
            if let value = scope.variables[name] { return value }
            next = scope.parent
        }
        return .undefined("'\(name)' is undefined")
    }

    // MARK: Macros

    func makeNamespace(_ attributes: [String: JinjaValue]) -> JinjaValue {
        let namespace = JinjaNamespace(attributes)
        namespaces.append(namespace)
        return .namespace(namespace)
    }

    private func function(_ macro: JinjaMacro) -> JinjaFunction {
        let definition = scope
        return JinjaFunction(macro.name) { interpreter, arguments in
            .string(try interpreter.expand(macro, arguments, definedIn: definition))
        }
    }

    private func expand(
        _ macro: JinjaMacro, _ arguments: JinjaArguments, definedIn definition: JinjaScope
    ) throws -> String {
        var keywords = arguments.keywords
        let callLine = line
        let outer = output
        output = ""
        captures += 1
        defer {
            output = outer
            captures -= 1
            line = callLine
        }
        _ = try inNewScope(parent: definition) {
            if macro.namesCaller {
                let caller = keywords.firstIndex { $0.name == "caller" }.map {
                    keywords.remove(at: $0).value
                }
                scope.variables["caller"] = caller ?? .undefined("No caller defined")
            }
            try bind(macro, arguments.positional, &keywords)
            return try run(macro.body)
        }
        return output
    }

    private func bind(
        _ macro: JinjaMacro, _ positional: [JinjaValue],
        _ keywords: inout [(name: String, value: JinjaValue)]
    ) throws {
        var missing: [(name: String, fallback: JinjaExpression?)] = []
        for (index, parameter) in macro.parameters.enumerated() {
            let keyword = keywords.firstIndex { $0.name == parameter.name }
                .map { keywords.remove(at: $0).value }
            if index < positional.count {
                guard keyword == nil else {
                    throw JinjaFailure(
                        "macro '\(macro.name)' got two values for '\(parameter.name)'")
                }
                scope.variables[parameter.name] = positional[index]
            } else if let keyword {
                scope.variables[parameter.name] = keyword
            } else {
                scope.variables[parameter.name] =
                    .undefined("parameter '\(parameter.name)' was not provided")
                missing.append(parameter)
            }
        }
        // a default sees the parameters before it
        for parameter in missing {
            if let fallback = parameter.fallback {
                scope.variables[parameter.name] = try evaluate(fallback)
            }
        }
        if macro.namesVarargs {
            scope.variables["varargs"] = .tuple(Array(positional.dropFirst(macro.parameters.count)))
        } else if positional.count > macro.parameters.count {
            throw JinjaFailure(
                "macro '\(macro.name)' takes not more than \(macro.parameters.count) argument(s)")
        }
        if macro.namesKwargs {
            var rest = JinjaDictionary()
            for keyword in keywords { rest.set(keyword.name, keyword.value) }
            scope.variables["kwargs"] = .dictionary(rest)
        } else if let extra = keywords.first {
            throw JinjaFailure("macro '\(macro.name)' takes no keyword argument '\(extra.name)'")
        }
    }
}

/// The variables of one block, seen by the blocks inside it.
final class JinjaScope {
    let parent: JinjaScope?
    var variables: [String: JinjaValue] = [:]

    init(parent: JinjaScope?) { self.parent = parent }
}
