/// One object within tokenizer.json, with its path for errors: `pre_tokenizer.pretokenizers[1]`.
struct TokenizerSection {
    let json: JSON
    let path: String
    let source: String

    /// An error about this section or its member `key`.
    func failure(
        _ code: LorikeetError.Code, _ key: String? = nil, _ problem: String,
        expected: String? = nil,
        got: String? = nil
    ) -> LorikeetError {
        LorikeetError(code, source, "\(name(key)): \(problem)", expected: expected, got: got)
    }

    /// The path of the member `key`.
    func name(_ key: String?) -> String {
        guard let key else { return path.isEmpty ? "the document" : path }
        return path.isEmpty ? key : "\(path).\(key)"
    }

    /// The member `key`, or nil when it is absent or null.
    func section(_ key: String) -> TokenizerSection? {
        guard let value = json[key], !value.isNull else { return nil }
        return TokenizerSection(json: value, path: name(key), source: source)
    }

    /// The elements of the array `key`; none when it is absent or null.
    func sections(_ key: String) throws -> [TokenizerSection] {
        guard let section = section(key) else { return [] }
        guard let elements = section.json.array else {
            throw section.failure(.malformed, nil, "not an array")
        }
        return elements.enumerated().map {
            TokenizerSection(json: $1, path: "\(section.path)[\($0)]", source: source)
        }
    }

    /// The component's `type`.
    func type() throws -> String { try string("type") }

    /// A component of a type that is not implemented.
    func unknownType(_ stage: String) throws -> LorikeetError {
        failure(.unsupported, "type", "a \(stage) of an unknown kind", got: try type())
    }

    /// The string `key`, which must be there.
    func string(_ key: String) throws -> String {
        guard let string = try optionalString(key) else {
            throw failure(.malformed, key, "missing")
        }
        return string
    }

    /// The string `key`, or nil when it is absent or null.
    func optionalString(_ key: String) throws -> String? {
        guard let section = section(key) else { return nil }
        guard let string = section.json.string else {
            throw section.failure(.malformed, nil, "not a string")
        }
        return string
    }

    /// The string `key`, which must be one scalar.
    func scalar(_ key: String) throws -> Unicode.Scalar {
        let scalars = try string(key).unicodeScalars
        guard scalars.count == 1 else { throw failure(.malformed, key, "not a single character") }
        return scalars[scalars.startIndex]
    }

    /// The boolean `key`, or `fallback` when it is absent or null.
    func bool(_ key: String, default fallback: Bool) throws -> Bool {
        guard let section = section(key) else { return fallback }
        guard let bool = section.json.bool else {
            throw section.failure(.malformed, nil, "not a boolean")
        }
        return bool
    }

    /// The count `key`, or `fallback` when it is absent or null.
    func count(_ key: String, default fallback: Int) throws -> Int {
        guard let section = section(key) else { return fallback }
        guard let count = section.json.int, (0...Int(Int32.max)).contains(count) else {
            throw section.failure(.malformed, nil, "not a count")
        }
        return count
    }

    /// A token id.
    func tokenID(_ key: String) throws -> Int32 {
        guard let section = section(key) else { throw failure(.malformed, key, "missing") }
        guard let id = section.json.int.flatMap(Int32.init(exactly:)), id >= 0 else {
            throw section.failure(.malformed, nil, "not a token id", got: section.json.text())
        }
        return id
    }

    /// A `pattern`: `{"String": …}` or `{"Regex": …}`.
    func pattern(_ key: String = "pattern") throws -> Pattern {
        guard let section = section(key) else { throw failure(.malformed, key, "missing") }
        if let text = section.json.string ?? section.json["String"]?.string {
            guard !text.isEmpty else { throw section.failure(.unsupported, nil, "an empty string") }
            return Pattern(literal: text)
        }
        guard let expression = section.json["Regex"]?.string else {
            throw section.failure(.malformed, nil, "neither a String nor a Regex")
        }
        return try Pattern(expression, source: "\(source): \(section.path)")
    }
}
