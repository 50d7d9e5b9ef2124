extension JinjaFilters {
    static let collections: [String: Filter] = [
        "default": fallback,
        "d": fallback,
        "length": length,
        "count": length,
        "first": { _, value, arguments in
            _ = try arguments.bind("first")
            let first =
                if case .sequence(let sequence) = value { sequence.first() } else {
                    try value.elements().first
                }
            return first ?? .undefined("No first item, sequence was empty.")
        },
        "last": { _, value, arguments in
            _ = try arguments.bind("last")
            if case .sequence(let sequence) = value, sequence.count == nil {
                throw JinjaFailure("'generator' object is not reversible")
            }
            return try value.elements().last ?? .undefined("No last item, sequence was empty.")
        },
        "list": { interpreter, value, arguments in
            _ = try arguments.bind("list")
            return .list(try interpreter.elements(of: value))
        },
        "items": { _, value, arguments in
            _ = try arguments.bind("items")
            if value.isUndefined { return .generator([]) }
            guard case .dictionary(let dictionary) = value else {
                throw JinjaFailure("Can only get item pairs from a mapping.")
            }
            return .generator(dictionary.items.map { .tuple([$0.key, $0.value]) })
        },
        "dictsort": { interpreter, value, arguments in
            let arguments = try arguments.bind("dictsort", "case_sensitive", "by", "reverse")
            let by = try arguments[1]?.requireString("dictsort") ?? "key"
            guard case .dictionary(let dictionary) = value else {
                throw JinjaFailure("dictsort needs a mapping, got '\(value.typeName)'")
            }
            guard by == "key" || by == "value" else {
                throw JinjaFailure("You can only sort by either \"key\" or \"value\"")
            }
            try interpreter.spend(on: value)
            let isSensitive = arguments[0]?.isTrue ?? false
            let items = try sorted(dictionary.items, reverse: arguments[2]?.isTrue ?? false) {
                sortable(by == "key" ? $0.key : $0.value, caseSensitive: isSensitive)
            }
            return .list(items.map { .tuple([$0.key, $0.value]) })
        },
        "sort": { interpreter, value, arguments in
            let arguments = try arguments.bind("sort", "reverse", "case_sensitive", "attribute")
            let isSensitive = arguments[1]?.isTrue ?? false
            let elements = try interpreter.elements(of: value)
            let keys = try elements.map { element -> JinjaValue in
                let paths = try attributePaths(arguments[2])
                return .list(
                    try paths.map {
                        sortable(
                            try interpreter.follow($0, from: element), caseSensitive: isSensitive)
                    })
            }
            try interpreter.spend(on: .list(keys))
            let order = try sorted(Array(elements.indices), reverse: arguments[0]?.isTrue ?? false)
            { keys[$0] }
            return .list(order.map { elements[$0] })
        },
        "unique": { interpreter, value, arguments in
            let arguments = try arguments.bind("unique", "case_sensitive", "attribute")
            let isSensitive = arguments[0]?.isTrue ?? false
            var seen: Set<JinjaKey> = []
            return .generator(
                try interpreter.elements(of: value).filter { element in
                    let key = try interpreter.attribute(arguments[1], of: element)
                    try interpreter.spend(on: key)
                    return seen.insert(try JinjaKey(sortable(key, caseSensitive: isSensitive)))
                        .inserted
                })
        },
        "min": { try extreme("min", $0, $1, $2) { try JinjaValue.isLess($0, $1) } },
        "max": { try extreme("max", $0, $1, $2) { try JinjaValue.isLess($1, $0) } },
        "sum": { interpreter, value, arguments in
            let arguments = try arguments.bind("sum", "attribute", "start")
            var total = arguments[1] ?? .int(0)
            for element in try interpreter.elements(of: value) {
                total = try interpreter.arithmetic(
                    .add, total, interpreter.attribute(arguments[0], of: element))
            }
            return total
        },
        "join": { interpreter, value, arguments in
            let arguments = try arguments.bind("join", "d", "attribute")
            let separator = try interpreter.text(of: arguments[0] ?? .string(""))
            var output = ""
            for (index, element) in try interpreter.elements(of: value).enumerated() {
                try interpreter.spend(bytes: separator.utf8.count)
                if index > 0 { output += separator }
                output += try interpreter.text(of: interpreter.attribute(arguments[1], of: element))
            }
            return .string(output)
        },
        "reverse": { interpreter, value, arguments in
            _ = try arguments.bind("reverse")
            let elements = try interpreter.elements(of: value)
            guard case .string(let text) = value else { return .generator(elements.reversed()) }
            return .string(String(String.UnicodeScalarView(text.unicodeScalars.reversed())))
        },
        "map": map,
        "select": { try select("select", $0, $1, $2, keeps: true, byAttribute: false) },
        "reject": { try select("reject", $0, $1, $2, keeps: false, byAttribute: false) },
        "selectattr": { try select("selectattr", $0, $1, $2, keeps: true, byAttribute: true) },
        "rejectattr": { try select("rejectattr", $0, $1, $2, keeps: false, byAttribute: true) },
        "attr": { interpreter, value, arguments in
            let name = try arguments.bind("attr", "name", required: 1)[0] ?? .none
            if case .dictionary = value {
                return .undefined("'dict object' has no attribute \(name.representation)")
            }
            return try interpreter.attribute(name.requireString("attr"), of: value)
        },
        "batch": { interpreter, value, arguments in
            let arguments = try arguments.bind("batch", "linecount", "fill_with", required: 1)
            let size = try (arguments[0] ?? .none).requireInteger("batch")
            guard size > 0 else { throw JinjaFailure("batch needs a positive size") }
            let elements = try interpreter.elements(of: value)
            var batches = stride(from: 0, to: elements.count, by: size).map {
                Array(elements[$0..<min($0 + size, elements.count)])
            }
            if let fill = arguments[1].flatMap(noneAsNil), let last = batches.popLast() {
                try interpreter.spend(bytes: size - last.count)
                batches.append(last + Array(repeating: fill, count: size - last.count))
            }
            return .generator(batches.map { .list($0) })
        },
    ]

    private static let fallback: Filter = { _, value, arguments in
        let arguments = try arguments.bind("default", "default_value", "boolean")
        let isMissing = value.isUndefined || (arguments[1]?.isTrue ?? false) && !value.isTrue
        return isMissing ? arguments[0] ?? .string("") : value
    }

    private static let length: Filter = { interpreter, value, arguments in
        _ = try arguments.bind("length")
        if case .string(let text) = value { try interpreter.spend(bytes: text.utf8.count) }
        return .int(try value.count())
    }

    // MARK: Elements through filters and tests

    private static let map: Filter = { interpreter, value, arguments in
        guard value.isTrue else { return .generator([]) }
        let elements = try interpreter.elements(of: value)
        if arguments.positional.isEmpty {
            let arguments = try arguments.bind("map", "attribute", "default")
            guard let attribute = arguments[0] else {
                throw JinjaFailure("map requires a filter argument")
            }
            let fallback = arguments[1].flatMap(noneAsNil)
            return .generator(
                try elements.map { try interpreter.attribute(attribute, of: $0, default: fallback) }
            )
        }
        let name = try arguments.positional[0].requireString("map")
        let rest = JinjaArguments(
            positional: Array(arguments.positional.dropFirst()), keywords: arguments.keywords)
        return .generator(try elements.map { try interpreter.filter(name, $0, rest) })
    }

    /// The elements that pass (or fail) a test: of themselves, or of an attribute.
    private static func select(
        _ filter: String, _ interpreter: JinjaInterpreter, _ value: JinjaValue,
        _ arguments: JinjaArguments, keeps: Bool, byAttribute: Bool
    ) throws -> JinjaValue {
        guard value.isTrue else { return .generator([]) }
        var rest = arguments
        var attribute: JinjaValue?
        if byAttribute {
            guard !rest.positional.isEmpty else {
                throw JinjaFailure("\(filter) needs an attribute's name")
            }
            attribute = rest.positional.removeFirst()
        }
        let test =
            try rest.positional.isEmpty ? nil : rest.positional.removeFirst().requireString(filter)
        return .generator(
            try interpreter.elements(of: value).filter { element in
                let tested = try interpreter.attribute(attribute, of: element)
                return try (test.map { try interpreter.test($0, tested, rest) } ?? tested.isTrue)
                    == keeps
            })
    }

    private static func extreme(
        _ name: String, _ interpreter: JinjaInterpreter, _ value: JinjaValue,
        _ arguments: JinjaArguments, _ isBetter: (JinjaValue, JinjaValue) throws -> Bool
    ) throws -> JinjaValue {
        let arguments = try arguments.bind(name, "case_sensitive", "attribute")
        let isSensitive = arguments[0]?.isTrue ?? false
        var best: (element: JinjaValue, key: JinjaValue)?
        for element in try interpreter.elements(of: value) {
            let key = sortable(
                try interpreter.attribute(arguments[1], of: element), caseSensitive: isSensitive)
            try interpreter.spend(on: key)
            if let found = best, try !isBetter(key, found.key) { continue }
            best = (element, key)
        }
        return best?.element ?? .undefined("No aggregated item, sequence was empty.")
    }

    // MARK: Sorting

    private static func sortable(_ value: JinjaValue, caseSensitive: Bool) -> JinjaValue {
        guard case .string(let text) = value, !caseSensitive else { return value }
        return .string(text.lowercased())
    }

    /// A stable sort; reversed, equals still keep their order.
    static func sorted<Element>(
        _ elements: [Element], reverse: Bool = false, by key: (Element) throws -> JinjaValue
    ) throws -> [Element] {
        let keys = try elements.map(key)
        return try elements.indices.sorted { left, right in
            let (lower, upper) = reverse ? (keys[right], keys[left]) : (keys[left], keys[right])
            if try JinjaValue.isLess(lower, upper) { return true }
            return try !JinjaValue.isLess(upper, lower) && left < right
        }.map { elements[$0] }
    }

    private static func attributePaths(_ attribute: JinjaValue?) throws -> [[JinjaValue]] {
        guard let attribute = attribute.flatMap(noneAsNil) else { return [[]] }
        guard case .string(let text) = attribute else { return [[attribute]] }
        return PythonText.split(text, at: ",", limit: -1, fromRight: false).map(path)
    }

    /// "a.b.0" as keys and indices.
    static func path(_ text: String) -> [JinjaValue] {
        PythonText.split(text, at: ".", limit: -1, fromRight: false).map { part in
            !part.isEmpty && part.allSatisfy { $0.isASCII && $0.isNumber }
                ? Int(part).map { .int($0) } ?? .string(part) : .string(part)
        }
    }
}

extension JinjaInterpreter {
    /// What a loop over `value` walks through, accounted for.
    func elements(of value: JinjaValue) throws -> [JinjaValue] {
        if case .string(let text) = value { try spend(bytes: 8 * text.utf8.count) }
        let elements = try value.elements()
        try spend(bytes: 8 * elements.count)
        return elements
    }

    /// The attribute "a.b.0" of `value`, or the value itself where no attribute is asked for.
    func attribute(
        _ attribute: JinjaValue?, of value: JinjaValue, default fallback: JinjaValue? = nil
    )
        throws -> JinjaValue
    {
        guard let attribute = attribute.flatMap(JinjaFilters.noneAsNil) else { return value }
        guard case .string(let text) = attribute else {
            return try follow([attribute], from: value, default: fallback)
        }
        return try follow(JinjaFilters.path(text), from: value, default: fallback)
    }

    func follow(
        _ path: [JinjaValue], from value: JinjaValue, default fallback: JinjaValue? = nil
    ) throws
        -> JinjaValue
    {
        var value = value
        for part in path {
            value = try item(part, of: value)
            if let fallback, value.isUndefined { value = fallback }
        }
        return value
    }
}
