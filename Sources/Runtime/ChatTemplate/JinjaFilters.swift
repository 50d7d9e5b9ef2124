import Foundation

/// The filters after `|` that make a text or a number; `JinjaFilters+Collections.swift` has those for lists.
enum JinjaFilters {
    typealias Filter = @Sendable (JinjaInterpreter, JinjaValue, JinjaArguments) throws -> JinjaValue

    static let all: [String: Filter] = texts.merging(numbers) { first, _ in first }
        .merging(collections) { first, _ in first }

    private static let texts: [String: Filter] = [
        "trim": { interpreter, value, arguments in
            let characters = try arguments.bind("trim", "chars")[0]
            let set = try characters.flatMap(noneAsNil)?.requireString("trim")
            return .string(
                PythonText.strip(try interpreter.text(of: value), set, left: true, right: true))
        },
        "upper": text("upper") { $0.uppercased() },
        "lower": text("lower") { $0.lowercased() },
        "capitalize": text("capitalize", PythonText.capitalized),
        "title": text("title", title),
        "string": text("string") { $0 },
        // The environment escapes nothing by itself, so that "safe" text is text.
        "safe": text("safe") { $0 },
        "escape": text("escape", escaped),
        "e": text("e", escaped),
        "forceescape": text("forceescape", escaped),
        "wordcount": { interpreter, value, arguments in
            _ = try arguments.bind("wordcount")
            let isWord = { (scalar: Unicode.Scalar) in
                scalar == "_" || scalar.properties.isAlphabetic
                    || scalar.properties.numericType != nil
            }
            let scalars = try interpreter.text(of: value).unicodeScalars
            return .int(scalars.split { !isWord($0) }.count)
        },
        "replace": { interpreter, value, arguments in
            let arguments = try arguments.bind("replace", "old", "new", "count", required: 2)
            let limit = try arguments[2].flatMap(noneAsNil)?.requireInteger("replace") ?? -1
            return .string(
                try interpreter.replacing(
                    interpreter.text(of: value), interpreter.text(of: arguments[0] ?? .none),
                    interpreter.text(of: arguments[1] ?? .none), limit: limit))
        },
        "indent": { interpreter, value, arguments in
            let arguments = try arguments.bind("indent", "width", "first", "blank")
            let width = arguments[0] ?? .int(4)
            var indent: String
            if case .string(let text) = width {
                indent = text
            } else {
                let count = max(0, try width.requireInteger("indent"))
                try interpreter.spend(bytes: count)
                indent = String(repeating: " ", count: count)
            }
            return .string(
                try interpreter.indented(
                    value.requireString("indent"), indent, first: arguments[1]?.isTrue ?? false,
                    blank: arguments[2]?.isTrue ?? false))
        },
        "center": { interpreter, value, arguments in
            let width = max(
                0, try arguments.bind("center", "width")[0]?.requireInteger("center") ?? 80)
            let text = try interpreter.text(of: value)
            try interpreter.spend(bytes: width)
            return .string(StringMethods.centered(text, width, fill: " "))
        },
        "format": { interpreter, value, arguments in
            let text = try interpreter.text(of: value)
            guard arguments.keywords.isEmpty else {
                var dictionary = JinjaDictionary()
                for keyword in arguments.keywords { dictionary.set(keyword.name, keyword.value) }
                return .string(try PythonFormat.percent(text, .dictionary(dictionary), interpreter))
            }
            return .string(
                try PythonFormat.percent(text, .tuple(arguments.positional), interpreter))
        },
        "truncate": { interpreter, value, arguments in
            let arguments = try arguments.bind("truncate", "length", "killwords", "end", "leeway")
            let text = Array(try value.requireString("truncate").unicodeScalars)
            let length = try arguments[0]?.requireInteger("truncate") ?? 255
            let end = try arguments[2]?.requireString("truncate") ?? "..."
            let leeway = try arguments[3].flatMap(noneAsNil)?.requireInteger("truncate") ?? 5
            guard length >= PythonText.count(end), leeway >= 0 else {
                throw JinjaFailure("truncate: a length below the end's")
            }
            guard text.count > length, text.count - length > leeway else { return value }
            var start = text[..<(length - PythonText.count(end))]
            if !(arguments[1]?.isTrue ?? false), let space = start.lastIndex(of: " ") {
                start = start[..<space]
            }
            return .string(String(String.UnicodeScalarView(start)) + end)
        },
        "tojson": { interpreter, value, arguments in
            let arguments = try arguments.bind(
                "tojson", "ensure_ascii", "indent", "separators", "sort_keys")
            guard !(arguments[0]?.isTrue ?? false) else {
                throw JinjaFailure("tojson with ensure_ascii is not supported")
            }
            try interpreter.spend(on: value)
            let indent = try arguments[1].flatMap(noneAsNil).map { indent in
                if case .string(let text) = indent { return text }
                let width = max(0, try indent.requireInteger("tojson"))
                try interpreter.spend(bytes: width)
                return String(repeating: " ", count: width)
            }
            let separators = try arguments[2].flatMap(noneAsNil).map { separators in
                let pair = try separators.elements()
                guard pair.count == 2 else { throw JinjaFailure("tojson: separators are a pair") }
                return (
                    item: try pair[0].requireString("tojson"),
                    key: try pair[1].requireString("tojson")
                )
            }
            return .string(
                try value.json(
                    indent: indent, separators: separators, sortKeys: arguments[3]?.isTrue ?? false)
            )
        },
    ]

    private static let numbers: [String: Filter] = [
        "abs": { _, value, arguments in
            _ = try arguments.bind("abs")
            if let integer = value.integer {
                guard integer != .min else { throw JinjaFailure("an integer past 64 bits") }
                return .int(abs(integer))
            }
            return .float(abs(try value.requireNumber("abs")))
        },
        "int": { _, value, arguments in
            let arguments = try arguments.bind("int", "default", "base")
            if case .undefined(let undefined) = value { throw JinjaFailure(undefined.problem) }
            let base = try arguments[1]?.requireInteger("int") ?? 10
            return integer(value, base: base).map { .int($0) } ?? arguments[0] ?? .int(0)
        },
        "float": { _, value, arguments in
            let fallback = try arguments.bind("float", "default")[0] ?? .float(0)
            if case .undefined(let undefined) = value { throw JinjaFailure(undefined.problem) }
            if case .string(let text) = value { return float(text).map { .float($0) } ?? fallback }
            return value.number.map { .float($0) } ?? fallback
        },
        "round": { _, value, arguments in
            let arguments = try arguments.bind("round", "precision", "method")
            let precision = try arguments[0]?.requireInteger("round") ?? 0
            let method = try arguments[1]?.requireString("round") ?? "common"
            guard (-300...300).contains(precision) else {
                throw JinjaFailure("round: a precision past 300")
            }
            return try rounded(value, precision, method)
        },
    ]

    private static func text(
        _ name: String, _ body: @escaping @Sendable (String) -> String
    ) -> Filter {
        { interpreter, value, arguments in
            _ = try arguments.bind(name)
            return .string(body(try interpreter.text(of: value)))
        }
    }

    static func noneAsNil(_ value: JinjaValue) -> JinjaValue? {
        if case .none = value { nil } else { value }
    }

    /// Capitals after spaces, hyphens and opening brackets; unlike the method, "it's" stays "It's".
    private static func title(_ text: String) -> String {
        var output = ""
        var isInWord = false
        for scalar in text.unicodeScalars {
            let isBreak = PythonText.isSpace(scalar) || "-({[<".unicodeScalars.contains(scalar)
            let properties = scalar.properties
            output += isInWord ? properties.lowercaseMapping : properties.uppercaseMapping
            isInWord = !isBreak
        }
        return output
    }

    private static func escaped(_ text: String) -> String {
        var output = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": output += "&amp;"
            case "<": output += "&lt;"
            case ">": output += "&gt;"
            case "\"": output += "&#34;"
            case "'": output += "&#39;"
            default: output.unicodeScalars.append(scalar)
            }
        }
        return output
    }

    // MARK: Numbers

    /// Python's `int(value)`, with "42.7" read as 42 as jinja2's filter does.
    private static func integer(_ value: JinjaValue, base: Int) -> Int? {
        if let integer = value.integer { return integer }
        if let number = value.number { return Int(exactly: number.rounded(.towardZero)) }
        guard case .string(let text) = value, (2...36).contains(base) else { return nil }
        var digits = PythonText.strip(text, left: true, right: true).replacing("_", with: "")
        let prefixes = [16: "0x", 8: "0o", 2: "0b"]
        if let prefix = prefixes[base], digits.lowercased().hasPrefix(prefix) {
            digits.removeFirst(2)
        }
        return Int(digits, radix: base)
            ?? float(text).flatMap { Int(exactly: $0.rounded(.towardZero)) }
    }

    /// Python's `float(text)`, without Swift's hexadecimal floats.
    private static func float(_ text: String) -> Double? {
        let text = PythonText.strip(text, left: true, right: true).replacing("_", with: "")
        return text.lowercased().contains("x") ? nil : Double(text)
    }

    private static func rounded(
        _ value: JinjaValue, _ precision: Int, _ method: String
    ) throws
        -> JinjaValue
    {
        let number = try value.requireNumber("round")
        let scale = pow(10.0, Double(precision))
        switch method {
        case "ceil": return .float((number * scale).rounded(.up) / scale)
        case "floor": return .float((number * scale).rounded(.down) / scale)
        case "common":
            if let integer = value.integer, precision >= 0 { return .int(integer) }
            guard precision >= 0 else {
                let rounded = (number * scale).rounded(.toNearestOrEven) / scale
                return value.integer == nil
                    ? .float(rounded) : Int(exactly: rounded).map { .int($0) } ?? value
            }
            // through decimal digits, as Python does: 2.675 is below 2.675
            return .float(
                number.isFinite
                    ? Double(PythonFormat.fixed(number, digits: precision)) ?? number : number)
        default: throw JinjaFailure("method must be common, ceil or floor")
        }
    }
}

extension JinjaInterpreter {
    /// `replace`, accounted for before it is made.
    func replacing(_ text: String, _ old: String, _ new: String, limit: Int) throws -> String {
        let (bytes, isOver) = (text.utf8.count + 1).multipliedReportingOverflow(by: new.utf8.count)
        // only a large replacement of small parts can grow a text much
        let found =
            new.utf8.count <= old.utf8.count
            ? text.utf8.count
            : old.isEmpty
                ? (isOver ? .max : bytes)
                : text.utf8.count + new.utf8.count
                    * PythonText.occurrences(
                        of: Array(old.utf8), in: Array(text.utf8), limit: limit < 0 ? .max : limit
                    ).count
        try spend(bytes: found)
        return PythonText.replacing(text, old, new, limit: limit)
    }

    func indented(_ text: String, _ indent: String, first: Bool, blank: Bool) throws -> String {
        // an empty line is kept at the end, as jinja2 splits text + "\n"
        let lines = PythonText.lines(text + "\n")
        try spend(bytes: text.utf8.count)
        try spend(bytes: lines.count * indent.utf8.count)
        var output = first ? indent : ""
        for (index, line) in lines.enumerated() {
            if index > 0 { output += "\n" + (blank || !line.isEmpty ? indent : "") }
            output += line
        }
        return output
    }
}
