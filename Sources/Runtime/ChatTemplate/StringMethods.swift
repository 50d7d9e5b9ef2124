/// The methods of Python's `str`.
enum StringMethods {
    private typealias Method = (String, JinjaInterpreter, JinjaArguments) throws -> JinjaValue

    /// The method `name` of `text`, or nil when strings have none of that name here.
    static func method(_ name: String, of text: String) -> JinjaValue? {
        guard let method = method(name) else { return nil }
        return .function(
            JinjaFunction(name) { interpreter, arguments in
                try interpreter.spend(bytes: text.utf8.count)
                return try method(text, interpreter, arguments)
            })
    }

    private static func method(_ name: String) -> Method? {
        switch name {
        case "strip", "lstrip", "rstrip": { try strip(name, $0, $2) }
        case "split", "rsplit": { try split(name, $0, $1, $2) }
        case "splitlines": { try lines($0, $2) }
        case "startswith", "endswith": { try hasAffix(name, $0, $2) }
        case "removeprefix", "removesuffix": { try removeAffix(name, $0, $2) }
        case "partition", "rpartition": { try partition(name, $0, $2) }
        case "find", "rfind", "index", "rindex": { try find(name, $0, $2) }
        case "count": { try count($0, $2) }
        case "replace": { try replace($0, $1, $2) }
        case "join": { try join($0, $1, $2) }
        case "format": { try format($0, $1, $2) }
        case "zfill", "ljust", "rjust", "center": { try pad(name, $0, $1, $2) }
        default: plain(name)
        }
    }

    /// The methods without arguments.
    private static func plain(_ name: String) -> Method? {
        let body: (String) -> JinjaValue
        switch name {
        case "upper": body = { .string($0.uppercased()) }
        case "lower", "casefold": body = { .string($0.lowercased()) }
        case "capitalize": body = { .string(PythonText.capitalized($0)) }
        case "title": body = { .string(PythonText.title($0)) }
        case "swapcase": body = { .string(swappingCase($0)) }
        case "isdigit":
            body = { .bool(all($0) { [.decimal, .digit].contains($0.properties.numericType) }) }
        case "isdecimal": body = { .bool(all($0) { $0.properties.numericType == .decimal }) }
        case "isnumeric": body = { .bool(all($0) { $0.properties.numericType != nil }) }
        case "isalpha": body = { .bool(all($0, isLetter)) }
        case "isalnum":
            body = { .bool(all($0) { isLetter($0) || $0.properties.numericType != nil }) }
        case "isspace": body = { .bool(all($0, PythonText.isSpace)) }
        case "isascii": body = { .bool($0.utf8.allSatisfy { $0 < 0x80 }) }
        case "islower": body = { .bool(isCased($0) { !$0.isUppercase }) }
        case "isupper": body = { .bool(isCased($0) { !$0.isLowercase }) }
        default: return nil
        }
        return { text, _, arguments in
            _ = try arguments.bind(name)
            return body(text)
        }
    }

    private static func all(_ text: String, _ matches: (Unicode.Scalar) -> Bool) -> Bool {
        !text.isEmpty && text.unicodeScalars.allSatisfy(matches)
    }

    private static func isLetter(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter:
            true
        default: false
        }
    }

    private static func isCased(
        _ text: String, _ matches: (Unicode.Scalar.Properties) -> Bool
    ) -> Bool {
        let cased = text.unicodeScalars.map(\.properties).filter(\.isCased)
        return !cased.isEmpty && cased.allSatisfy(matches)
    }

    private static func swappingCase(_ text: String) -> String {
        text.unicodeScalars.reduce(into: "") { output, scalar in
            let properties = scalar.properties
            output +=
                properties.isUppercase ? properties.lowercaseMapping : properties.uppercaseMapping
        }
    }

    // MARK: Ends

    private static func strip(
        _ name: String, _ text: String, _ arguments: JinjaArguments
    ) throws
        -> JinjaValue
    {
        let characters = try arguments.bind(name, "chars")[0].flatMap(JinjaFilters.noneAsNil)
        return .string(
            PythonText.strip(
                text, try characters?.requireString(name), left: name != "rstrip",
                right: name != "lstrip"))
    }

    private static func hasAffix(
        _ name: String, _ text: String, _ arguments: JinjaArguments
    ) throws
        -> JinjaValue
    {
        let arguments = try arguments.bind(name, "prefix", "start", "end", required: 1)
        guard let affix = arguments[0] else { return .none }
        var affixes = [affix]
        if case .tuple(let elements) = affix { affixes = elements }
        let (part, start) = try range(text, arguments[1], arguments[2])
        let bytes = part.utf8
        return .bool(
            try affixes.contains { affix in
                let affix = try affix.requireString(name).utf8
                // past the end not even "" begins
                guard start <= PythonText.count(text) else { return false }
                return name == "startswith"
                    ? bytes.starts(with: affix) : bytes.reversed().starts(with: affix.reversed())
            })
    }

    private static func removeAffix(
        _ name: String, _ text: String, _ arguments: JinjaArguments
    ) throws
        -> JinjaValue
    {
        let affix = try (arguments.bind(name, "affix", required: 1)[0] ?? .none).requireString(name)
            .utf8
        let bytes = text.utf8
        if name == "removeprefix", bytes.starts(with: affix) {
            return .string(String(decoding: bytes.dropFirst(affix.count), as: UTF8.self))
        }
        if name == "removesuffix", bytes.reversed().starts(with: affix.reversed()) {
            return .string(String(decoding: bytes.dropLast(affix.count), as: UTF8.self))
        }
        return .string(text)
    }

    // MARK: Parts

    private static func split(
        _ name: String, _ text: String, _ interpreter: JinjaInterpreter, _ arguments: JinjaArguments
    ) throws -> JinjaValue {
        let arguments = try arguments.bind(name, "sep", "maxsplit")
        let limit = try arguments[1]?.requireInteger(name) ?? -1
        let fromRight = name == "rsplit"
        // every part is a value of its own
        try interpreter.spend(bytes: 8 * text.utf8.count)
        guard let separator = try arguments[0].flatMap(JinjaFilters.noneAsNil)?.requireString(name)
        else {
            return .list(
                PythonText.splitAtSpace(text, limit: limit, fromRight: fromRight).map {
                    .string($0)
                })
        }
        guard !separator.isEmpty else { throw JinjaFailure("empty separator") }
        return .list(
            PythonText.split(text, at: separator, limit: limit, fromRight: fromRight).map {
                .string($0)
            })
    }

    private static func lines(_ text: String, _ arguments: JinjaArguments) throws -> JinjaValue {
        let keeps = try arguments.bind("splitlines", "keepends")[0]?.isTrue ?? false
        return .list(PythonText.lines(text, keepingEnds: keeps).map { .string($0) })
    }

    private static func partition(
        _ name: String, _ text: String, _ arguments: JinjaArguments
    ) throws
        -> JinjaValue
    {
        let separator = try (arguments.bind(name, "sep", required: 1)[0] ?? .none).requireString(
            name)
        guard !separator.isEmpty else { throw JinjaFailure("empty separator") }
        let fromRight = name == "rpartition"
        let parts = PythonText.split(text, at: separator, limit: 1, fromRight: fromRight)
        guard parts.count == 2 else {
            let whole = JinjaValue.string(text)
            let empty = JinjaValue.string("")
            return .tuple(fromRight ? [empty, empty, whole] : [whole, empty, empty])
        }
        return .tuple([.string(parts[0]), .string(separator), .string(parts[1])])
    }

    // MARK: Searching

    /// `text[start:end]` and where it begins.
    private static func range(
        _ text: String, _ start: JinjaValue?, _ end: JinjaValue?
    ) throws
        -> (part: String, start: Int)
    {
        let start = start.flatMap(JinjaFilters.noneAsNil)
        let end = end.flatMap(JinjaFilters.noneAsNil)
        guard start != nil || end != nil else { return (text, 0) }
        let scalars = Array(text.unicodeScalars)
        func clamped(_ bound: Int) -> Int {
            bound < 0 ? max(0, max(bound, -scalars.count) + scalars.count) : bound
        }
        let from = clamped(try start?.requireInteger("start") ?? 0)
        let to = min(scalars.count, clamped(try end?.requireInteger("end") ?? scalars.count))
        guard from < to else { return ("", from) }
        return (String(String.UnicodeScalarView(scalars[from..<to])), from)
    }

    private static func find(
        _ name: String, _ text: String, _ arguments: JinjaArguments
    ) throws
        -> JinjaValue
    {
        let arguments = try arguments.bind(name, "sub", "start", "end", required: 1)
        let part = Array(try (arguments[0] ?? .none).requireString(name).utf8)
        let (searched, start) = try range(text, arguments[1], arguments[2])
        let bytes = Array(searched.utf8)
        var found: Int?
        if start <= PythonText.count(text) {
            if name.hasPrefix("r") {
                found = PythonText.find(part.reversed(), in: bytes.reversed())
                    .map { bytes.count - $0 - part.count }
            } else {
                found = PythonText.find(part, in: bytes)
            }
        }
        if let found { return .int(start + PythonText.scalarIndex(bytes, found)) }
        guard !name.hasSuffix("index") else { throw JinjaFailure("substring not found") }
        return .int(-1)
    }

    private static func count(_ text: String, _ arguments: JinjaArguments) throws -> JinjaValue {
        let arguments = try arguments.bind("count", "sub", "start", "end", required: 1)
        let part = Array(try (arguments[0] ?? .none).requireString("count").utf8)
        let (searched, _) = try range(text, arguments[1], arguments[2])
        guard !part.isEmpty else { return .int(PythonText.count(searched) + 1) }
        return .int(PythonText.occurrences(of: part, in: Array(searched.utf8), limit: .max).count)
    }

    // MARK: Making

    private static func replace(
        _ text: String, _ interpreter: JinjaInterpreter, _ arguments: JinjaArguments
    ) throws -> JinjaValue {
        let arguments = try arguments.bind("replace", "old", "new", "count", required: 2)
        return .string(
            try interpreter.replacing(
                text, (arguments[0] ?? .none).requireString("replace"),
                (arguments[1] ?? .none).requireString("replace"),
                limit: arguments[2]?.requireInteger("replace") ?? -1))
    }

    private static func join(
        _ text: String, _ interpreter: JinjaInterpreter, _ arguments: JinjaArguments
    ) throws -> JinjaValue {
        let elements = try interpreter.elements(
            of: arguments.bind("join", "iterable", required: 1)[0] ?? .none)
        var output = ""
        for (index, element) in elements.enumerated() {
            let part = try element.requireString("join")
            try interpreter.spend(bytes: part.utf8.count + text.utf8.count)
            output += (index > 0 ? text : "") + part
        }
        return .string(output)
    }

    private static func format(
        _ text: String, _ interpreter: JinjaInterpreter, _ arguments: JinjaArguments
    ) throws -> JinjaValue {
        .string(try PythonFormat.format(text, arguments, interpreter))
    }

    private static func pad(
        _ name: String, _ text: String, _ interpreter: JinjaInterpreter, _ arguments: JinjaArguments
    ) throws -> JinjaValue {
        let arguments = try arguments.bind(name, "width", "fillchar", required: 1)
        let width = max(0, try (arguments[0] ?? .none).requireInteger(name))
        let fill = try arguments[1]?.requireString(name) ?? (name == "zfill" ? "0" : " ")
        guard PythonText.count(fill) == 1 else {
            throw JinjaFailure("The fill character must be exactly one character long")
        }
        try interpreter.spend(bytes: width)
        let padding = String(repeating: fill, count: max(0, width - PythonText.count(text)))
        switch name {
        case "ljust": return .string(text + padding)
        case "rjust": return .string(padding + text)
        case "center": return .string(centered(text, width, fill: fill))
        default:
            let sign = text.prefix { $0 == "-" || $0 == "+" }.prefix(1)
            return .string(sign + padding + text.dropFirst(sign.count))
        }
    }

    /// Python gives an odd space to the left when the width is odd.
    static func centered(_ text: String, _ width: Int, fill: String) -> String {
        let missing = max(0, width - PythonText.count(text))
        let left = missing / 2 + (missing & width & 1)
        return String(repeating: fill, count: left) + text
            + String(repeating: fill, count: missing - left)
    }
}
