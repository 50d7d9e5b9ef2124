import OrderedCollections

/// A value inside a template: Python's types, as far as templates meet them.
///
/// Lists and dictionaries are values, because the sandbox that transformers renders in forbids
/// changing them; only a namespace can be changed.
public enum JinjaValue {
    /// A name, key or index that leads nowhere: prints as nothing, fails when looked into.
    case undefined(JinjaUndefined)
    /// `none`
    case none
    /// `true` or `false`
    case bool(Bool)
    /// An integer; one past 64 bits is an error, where Python would go on.
    case int(Int)
    /// A float.
    case float(Double)
    /// A string: a sequence of code points.
    case string(String)
    /// A list.
    case list([JinjaValue])
    /// A tuple.
    case tuple([JinjaValue])
    /// A dictionary in the order of its insertions.
    case dictionary(JinjaDictionary)
    /// What a macro, a global function or a method is.
    case function(JinjaFunction)
    /// `namespace(…)`
    case namespace(JinjaNamespace)
    /// The variable `loop`.
    case loop(JinjaLoopState)
    /// Anything else that can only be walked through: range, a dictionary's views, a filter's stream.
    case sequence(JinjaSequence)
}

/// Why a value is undefined, for the error when it is used.
public struct JinjaUndefined: Sendable {
    let problem: String
}

/// A function that a template can call.
public final class JinjaFunction {
    let name: String
    let body: (JinjaInterpreter, JinjaArguments) throws -> JinjaValue

    init(_ name: String, _ body: @escaping (JinjaInterpreter, JinjaArguments) throws -> JinjaValue)
    {
        self.name = name
        self.body = body
    }
}

/// The one value that a template can change.
public final class JinjaNamespace {
    var attributes: [String: JinjaValue]

    init(_ attributes: [String: JinjaValue]) { self.attributes = attributes }
}

/// A walk over elements that is no list: which Python type it is says what else it can do.
public final class JinjaSequence {
    enum Kind {
        /// Has a length, indices and slices.
        case range
        /// `dict.keys()` and the like: has a length, no indices.
        case view(String)
        /// What `map`, `select` and their like give: walked through once, no length.
        case generator
    }

    let kind: Kind
    private var elements: [JinjaValue]

    init(_ kind: Kind, _ elements: [JinjaValue]) {
        self.kind = kind
        self.elements = elements
    }

    /// All elements; a generator is empty afterwards.
    func take() -> [JinjaValue] {
        guard case .generator = kind else { return elements }
        defer { elements = [] }
        return elements
    }

    /// The next element of a generator, the first of anything else.
    func first() -> JinjaValue? {
        guard case .generator = kind, !elements.isEmpty else { return elements.first }
        return elements.removeFirst()
    }

    /// How many there are, or nil for a generator, which Python cannot count.
    var count: Int? {
        if case .generator = kind { nil } else { elements.count }
    }
}

/// What `loop` tells about the iteration under way.
public final class JinjaLoopState {
    let elements: [JinjaValue]
    var index = 0
    var lastChanged: [JinjaValue]?

    init(_ elements: [JinjaValue]) { self.elements = elements }
}

/// A dictionary in the order of its insertions, with Python's keys: 1, 1.0 and true are one key.
public struct JinjaDictionary {
    private(set) var entries: OrderedDictionary<JinjaKey, (key: JinjaValue, value: JinjaValue)> =
        [:]

    var count: Int { entries.count }
    var keys: [JinjaValue] { entries.values.map(\.key) }
    var values: [JinjaValue] { entries.values.map(\.value) }
    var items: [(key: JinjaValue, value: JinjaValue)] { Array(entries.values) }

    /// The value at `key`, or nil; an unhashable key throws.
    func value(at key: JinjaValue) throws -> JinjaValue? { entries[try JinjaKey(key)]?.value }

    func value(at key: String) -> JinjaValue? { entries[.string(key)]?.value }

    mutating func set(_ key: JinjaValue, _ value: JinjaValue) throws {
        let hash = try JinjaKey(key)
        // a repeated key keeps its first spelling
        entries[hash] = (entries[hash]?.key ?? key, value)
    }

    mutating func set(_ key: String, _ value: JinjaValue) {
        entries[.string(key)] = (.string(key), value)
    }
}

/// A hashable value, equal as Python's are.
enum JinjaKey: Hashable {
    case none
    case number(Double)
    case string(String)
    case tuple([JinjaKey])

    init(_ value: JinjaValue) throws {
        switch value {
        case .none: self = .none
        case .bool(let value): self = .number(value ? 1 : 0)
        case .int(let value): self = .number(Double(value))
        case .float(let value): self = .number(value)
        case .string(let value): self = .string(value)
        case .tuple(let elements): self = .tuple(try elements.map(JinjaKey.init))
        default: throw JinjaFailure("unhashable type: '\(value.typeName)'")
        }
    }

    static func == (left: JinjaKey, right: JinjaKey) -> Bool {
        switch (left, right) {
        case (.none, .none): true
        case (.number(let left), .number(let right)): left == right
        case (.string(let left), .string(let right)): PythonText.areEqual(left, right)
        case (.tuple(let left), .tuple(let right)): left == right
        default: false
        }
    }

    func hash(into hasher: inout Hasher) {
        switch self {
        case .none: hasher.combine(0)
        case .number(let value): hasher.combine(value)
        // not String's own hash, which is the same for canonically equivalent strings; that would
        // do, but normalizes first
        case .string(let value): for byte in value.utf8 { hasher.combine(byte) }
        case .tuple(let elements): hasher.combine(elements)
        }
    }
}

extension JinjaValue {
    /// The same value as a template sees it.
    public init(_ json: JSON) {
        switch json {
        case .null: self = .none
        case .bool(let value): self = .bool(value)
        case .int(let value): self = .int(value)
        case .double(let value): self = .float(value)
        case .string(let value): self = .string(value)
        case .array(let elements): self = .list(elements.map(JinjaValue.init))
        case .object(let members):
            var dictionary = JinjaDictionary()
            for (key, value) in members { dictionary.set(key, JinjaValue(value)) }
            self = .dictionary(dictionary)
        }
    }

    static func undefined(_ problem: String) -> JinjaValue {
        .undefined(JinjaUndefined(problem: problem))
    }

    static func dictionary(_ pairs: KeyValuePairs<String, JinjaValue>) -> JinjaValue {
        var dictionary = JinjaDictionary()
        for (key, value) in pairs { dictionary.set(key, value) }
        return .dictionary(dictionary)
    }

    static func generator(_ elements: [JinjaValue]) -> JinjaValue {
        .sequence(JinjaSequence(.generator, elements))
    }

    /// Python's name of the type, for errors.
    var typeName: String {
        switch self {
        case .undefined: "Undefined"
        case .none: "NoneType"
        case .bool: "bool"
        case .int: "int"
        case .float: "float"
        case .string: "str"
        case .list: "list"
        case .tuple: "tuple"
        case .dictionary: "dict"
        case .function: "function"
        case .namespace: "Namespace"
        case .loop: "LoopContext"
        case .sequence(let sequence):
            switch sequence.kind {
            case .range: "range"
            case .view(let name): name
            case .generator: "generator"
            }
        }
    }

    /// Python's truth.
    var isTrue: Bool {
        switch self {
        case .undefined, .none: false
        case .bool(let value): value
        case .int(let value): value != 0
        case .float(let value): value != 0
        case .string(let value): !value.isEmpty
        case .list(let elements), .tuple(let elements): !elements.isEmpty
        case .dictionary(let dictionary): dictionary.count > 0
        case .sequence(let sequence): sequence.count != 0
        case .function, .namespace, .loop: true
        }
    }

    var isUndefined: Bool { if case .undefined = self { true } else { false } }

    /// A bool or an int as Python counts with them.
    var integer: Int? {
        switch self {
        case .bool(let value): value ? 1 : 0
        case .int(let value): value
        default: nil
        }
    }

    /// Any number.
    var number: Double? {
        if case .float(let value) = self { value } else { integer.map(Double.init) }
    }
}
