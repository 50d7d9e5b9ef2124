/// The tests after `is`.
enum JinjaTests {
    typealias Test = @Sendable (JinjaValue, JinjaArguments) throws -> Bool

    static let all: [String: Test] = {
        var tests: [String: Test] = [
            "defined": plain("defined") { !$0.isUndefined },
            "undefined": plain("undefined") { $0.isUndefined },
            "none": plain("none") { if case .none = $0 { true } else { false } },
            "boolean": plain("boolean") { if case .bool = $0 { true } else { false } },
            "true": plain("true") { if case .bool(true) = $0 { true } else { false } },
            "false": plain("false") { if case .bool(false) = $0 { true } else { false } },
            "integer": plain("integer") { if case .int = $0 { true } else { false } },
            "float": plain("float") { if case .float = $0 { true } else { false } },
            "number": plain("number") { $0.number != nil },
            "string": plain("string") { if case .string = $0 { true } else { false } },
            "mapping": plain("mapping") { if case .dictionary = $0 { true } else { false } },
            "iterable": plain("iterable", isIterable),
            "sequence": plain("sequence", isSequence),
            "callable": plain("callable") { if case .function = $0 { true } else { false } },
            "escaped": plain("escaped") { _ in false },
            "lower": plain("lower") { hasCase($0.text, \.isUppercase) },
            "upper": plain("upper") { hasCase($0.text, \.isLowercase) },
            "odd": plain("odd") { try modulo($0, 2) == 1 },
            "even": plain("even") { try modulo($0, 2) == 0 },
            "filter": plain("filter") { JinjaFilters.all[$0.text] != nil },
            "test": plain("test") { isTest($0.text) },
            "divisibleby": { value, arguments in
                let divisor = try arguments.bind("divisibleby", "num", required: 1)[0] ?? .none
                return try modulo(value, divisor.requireInteger("divisibleby")) == 0
            },
            "sameas": { value, arguments in
                let other = try arguments.bind("sameas", "other", required: 1)[0] ?? .none
                return value.typeName == other.typeName && JinjaValue.areEqual(value, other)
            },
        ]
        let comparisons: [(JinjaComparison, [String])] = [
            (.equal, ["eq", "equalto", "=="]), (.notEqual, ["ne", "!="]),
            (.less, ["lt", "lessthan", "<"]), (.lessOrEqual, ["le", "<="]),
            (.greater, ["gt", "greaterthan", ">"]), (.greaterOrEqual, ["ge", ">="]),
            (.contained, ["in"]),
        ]
        for (comparison, names) in comparisons {
            for name in names {
                tests[name] = { value, arguments in
                    let other = try arguments.bind(name, "other", required: 1)[0] ?? .none
                    return try JinjaValue.compare(value, comparison, other)
                }
            }
        }
        return tests
    }()

    private static func isTest(_ name: String) -> Bool { all[name] != nil }

    private static func plain(
        _ name: String, _ test: @escaping @Sendable (JinjaValue) throws -> Bool
    )
        -> Test
    {
        { value, arguments in
            _ = try arguments.bind(name)
            return try test(value)
        }
    }

    private static func isIterable(_ value: JinjaValue) -> Bool {
        switch value {
        case .undefined, .string, .list, .tuple, .dictionary, .sequence, .loop: true
        default: false
        }
    }

    private static func isSequence(_ value: JinjaValue) -> Bool {
        switch value {
        case .undefined, .string, .list, .tuple, .dictionary: true
        case .sequence(let sequence): if case .range = sequence.kind { true } else { false }
        default: false
        }
    }

    /// Whether there is a cased letter and none of the other case.
    private static func hasCase(
        _ text: String, _ other: KeyPath<Unicode.Scalar.Properties, Bool>
    ) -> Bool {
        let cased = text.unicodeScalars.map(\.properties).filter(\.isCased)
        return !cased.isEmpty && !cased.contains { $0[keyPath: other] }
    }

    private static func modulo(_ value: JinjaValue, _ divisor: Int) throws -> Double {
        let number = try value.requireNumber("%")
        guard divisor != 0 else { throw JinjaFailure("integer modulo by zero") }
        let remainder = number.truncatingRemainder(dividingBy: Double(divisor))
        return remainder != 0 && (remainder < 0) != (divisor < 0)
            ? remainder + Double(divisor) : remainder
    }
}
