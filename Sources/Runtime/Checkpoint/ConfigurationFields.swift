/// Checked reading of config.json's fields; null counts as absent, as in transformers.
struct ConfigurationFields {
    let json: JSON
    let source: String
    private let prefix: String

    init(_ json: JSON, _ source: String, prefix: String = "") {
        self.json = json
        self.source = source
        self.prefix = prefix
    }

    /// The object at `key`; nil where there is none, or an empty one.
    func object(_ key: String) -> ConfigurationFields? {
        guard let object = json[key], object.object?.isEmpty == false else { return nil }
        return ConfigurationFields(object, source, prefix: prefix + key + ".")
    }

    func malformed(_ key: String, expected: String) -> LorikeetError {
        LorikeetError(
            .malformed, source, "\(prefix)\(key) is out of range", expected: expected,
            got: json[key]?.text() ?? "nothing")
    }

    func unsupported(_ key: String, expected: String) -> LorikeetError {
        LorikeetError(
            .unsupported, source, "\(prefix)\(key) is not supported", expected: expected,
            got: json[key]?.text() ?? "nothing")
    }

    /// Whether the file says null, which may mean something else than nothing.
    func isNull(_ key: String) -> Bool { json[key]?.isNull == true }

    func count(_ key: String, default value: Int, atMost limit: Int) throws -> Int {
        guard let field = json[key], !field.isNull else { return value }
        guard let count = field.int, (1...limit).contains(count) else {
            throw malformed(key, expected: "a whole number from 1 to \(limit)")
        }
        return count
    }

    func number(
        _ key: String, default value: Double? = nil, in range: ClosedRange<Double>
    ) throws -> Double {
        if let field = json[key], !field.isNull {
            if let number = field.double, range.contains(number) { return number }
        } else if let value {
            return value
        }
        throw malformed(
            key, expected: "a number from \(range.lowerBound) to \(range.upperBound)")
    }

    /// A number that may be null; `value` where it is absent.
    func optionalNumber(
        _ key: String, default value: Double?, in range: ClosedRange<Double>
    ) throws -> Double? {
        if isNull(key) { return nil }
        guard json[key] != nil else { return value }
        return try number(key, in: range)
    }

    func flag(_ key: String) throws -> Bool {
        guard let field = json[key], !field.isNull else { return false }
        guard let flag = field.bool else { throw malformed(key, expected: "true or false") }
        return flag
    }

    /// As many positive numbers as `count`.
    func numbers(_ key: String, count: Int, in range: ClosedRange<Double>) throws -> [Double] {
        let numbers = json[key]?.array?.compactMap(\.double) ?? []
        guard numbers.count == count, json[key]?.array?.count == count,
            numbers.allSatisfy(range.contains)
        else {
            throw malformed(
                key,
                expected: "\(count) numbers from \(range.lowerBound) to \(range.upperBound)")
        }
        return numbers
    }
}
