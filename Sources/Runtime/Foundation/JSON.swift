/// A JSON value that keeps the order of its keys.
///
/// Foundation's decoders forget the order of keys and let a repeated key pass; config.json is
/// rewritten in its own order here, chat templates print dictionaries in theirs, and a safetensors
/// header that names a tensor twice must be refused.
public enum JSON: Sendable, Equatable {
    /// `null`
    case null
    /// `true` or `false`
    case bool(Bool)
    /// A number without fraction or exponent that fits 64 bits.
    case int(Int)
    /// Any other number.
    case double(Double)
    /// A string.
    case string(String)
    /// An array.
    case array([JSON])
    /// An object in the order of its file.
    case object(Object)
}

extension JSON {
    /// The value at `key`, or nil when this is no object or has no such key.
    public subscript(key: String) -> JSON? {
        get {
            guard case .object(let object) = self else { return nil }
            return object[key]
        }
        set {
            guard case .object(var object) = self else {
                preconditionFailure("a key set on a JSON value that is no object")
            }
            object[key] = newValue
            self = .object(object)
        }
    }

    /// The string, if this is one.
    public var string: String? { if case .string(let value) = self { value } else { nil } }

    /// The boolean, if this is one.
    public var bool: Bool? { if case .bool(let value) = self { value } else { nil } }

    /// The elements, if this is an array.
    public var array: [JSON]? { if case .array(let value) = self { value } else { nil } }

    /// The members, if this is an object.
    public var object: Object? {
        if case .object(let value) = self { value } else { nil }
    }

    /// The integer, if this is a number without fraction.
    public var int: Int? {
        switch self {
        case .int(let value): value
        case .double(let value): Int(exactly: value)
        default: nil
        }
    }

    /// The number, if this is one.
    public var double: Double? {
        switch self {
        case .int(let value): Double(value)
        case .double(let value): value
        default: nil
        }
    }

    /// Whether this is `null`.
    public var isNull: Bool { self == .null }
}

extension JSON: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral,
    ExpressibleByBooleanLiteral, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral,
    ExpressibleByNilLiteral
{
    /// A string.
    public init(stringLiteral value: String) { self = .string(value) }
    /// An integer.
    public init(integerLiteral value: Int) { self = .int(value) }
    /// A number.
    public init(floatLiteral value: Double) { self = .double(value) }
    /// A boolean.
    public init(booleanLiteral value: Bool) { self = .bool(value) }
    /// An array.
    public init(arrayLiteral elements: JSON...) { self = .array(elements) }
    /// The null value.
    public init(nilLiteral: ()) { self = .null }
    /// An object; a repeated key traps.
    public init(dictionaryLiteral elements: (String, JSON)...) {
        var members = Object()
        for (key, value) in elements {
            precondition(
                members.updateValue(value, forKey: key) == nil, "the key \(key) is repeated")
        }
        self = .object(members)
    }
}
