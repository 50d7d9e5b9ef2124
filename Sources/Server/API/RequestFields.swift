import HTTPTypes
import LorikeetRuntime

/// Reads the fields of a request, and says which one is wrong and how.
///
/// A field that is null counts as absent, as OpenAI's clients send it. Fields that nobody asks for are
/// ignored: clients add new ones every year.
struct RequestFields {
    private let object: JSON.Object
    // What precedes a field's name in errors: "stream_options.".
    private let prefix: String

    /// The fields of a request's body.
    ///
    /// - Throws: `APIError` when the body is no JSON object.
    init(parsing body: UnsafeRawBufferPointer) throws {
        let json: JSON
        do {
            json = try JSON(parsing: body, source: "the request's body")
        } catch let error as LorikeetError {
            throw APIError(.badRequest, error.description, code: "invalid_json")
        }
        guard case .object = json else {
            throw APIError(
                .badRequest, "The request's body: expected an object, got \(json.kind).",
                code: "invalid_type")
        }
        try self.init(json, name: "", prefix: "")
    }

    private init(_ json: JSON, name: String, prefix: String) throws {
        guard case .object(let object) = json else {
            throw APIError.type(name, expected: "an object", got: json)
        }
        self.object = object
        self.prefix = prefix
    }

    /// The value of `key`, whatever it is; nil for none.
    func value(_ key: String) -> JSON? {
        guard let value = object[key], !value.isNull else { return nil }
        return value
    }

    /// The value of `key`, which must be there.
    func required(_ key: String) throws -> JSON {
        guard let value = value(key) else {
            throw APIError(
                .badRequest, "\(prefix)\(key) is missing.", parameter: prefix + key,
                code: "missing_required_parameter")
        }
        return value
    }

    /// A boolean.
    func bool(_ key: String) throws -> Bool? {
        try typed(key, "a boolean", \.bool)
    }

    /// A string.
    func string(_ key: String) throws -> String? {
        try typed(key, "a string", \.string)
    }

    /// An array.
    func array(_ key: String) throws -> [JSON]? {
        try typed(key, "an array", \.array)
    }

    /// An object's fields.
    func fields(_ key: String) throws -> RequestFields? {
        try value(key).map { try RequestFields($0, name: prefix + key, prefix: prefix + key + ".") }
    }

    /// An object.
    func object(_ key: String) throws -> JSON.Object? {
        try typed(key, "an object", \.object)
    }

    /// An integer within `range`.
    func int(_ key: String, in range: ClosedRange<Int>) throws -> Int? {
        guard let int = try typed(key, "an integer", \.int) else { return nil }
        guard range.contains(int) else {
            let bounds =
                range.upperBound == .max
                ? "\(range.lowerBound) or more" : "\(range.lowerBound) to \(range.upperBound)"
            throw APIError.invalid(
                prefix + key, "\(prefix)\(key): expected \(bounds), got \(int).")
        }
        return int
    }

    /// A number within `range`.
    func number(_ key: String, in range: ClosedRange<Double>) throws -> Float? {
        guard let number = try typed(key, "a number", \.double) else { return nil }
        guard range.contains(number) else {
            throw APIError.invalid(
                prefix + key,
                "\(prefix)\(key): expected \(range.lowerBound) to \(range.upperBound), got \(number)."
            )
        }
        return Float(number)
    }

    private func typed<Value>(
        _ key: String, _ expected: String, _ read: (JSON) -> Value?
    ) throws -> Value? {
        guard let value = value(key) else { return nil }
        guard let typed = read(value) else {
            throw APIError.type(prefix + key, expected: expected, got: value)
        }
        return typed
    }
}
