import OrderedCollections

extension JinjaValue {
    /// `==`.
    static func areEqual(_ left: JinjaValue, _ right: JinjaValue) -> Bool {
        switch (left, right) {
        case (.undefined, .undefined), (.none, .none): true
        case (.string(let left), .string(let right)): PythonText.areEqual(left, right)
        case (.list(let left), .list(let right)), (.tuple(let left), .tuple(let right)):
            left.count == right.count && zip(left, right).allSatisfy(areEqual)
        case (.dictionary(let left), .dictionary(let right)):
            left.count == right.count
                && left.entries.allSatisfy { key, entry in
                    right.entries[key].map { areEqual(entry.value, $0.value) } ?? false
                }
        case (.sequence(let left), .sequence(let right)): left === right
        case (.function(let left), .function(let right)): left === right
        case (.namespace(let left), .namespace(let right)): left === right
        case (.loop(let left), .loop(let right)): left === right
        default:
            if let left = left.integer, let right = right.integer {
                left == right
            } else if let left = left.number, let right = right.number {
                left == right
            } else {
                false
            }
        }
    }

    /// `<`, which Python has for numbers, strings, lists and tuples.
    static func isLess(
        _ left: JinjaValue, _ right: JinjaValue, operator symbol: String = "<"
    ) throws
        -> Bool
    {
        switch (left, right) {
        case (.string(let left), .string(let right)): return PythonText.isLess(left, right)
        case (.list(let left), .list(let right)), (.tuple(let left), .tuple(let right)):
            for (left, right) in zip(left, right) where !areEqual(left, right) {
                return try isLess(left, right, operator: symbol)
            }
            return left.count < right.count
        case (.undefined(let undefined), _), (_, .undefined(let undefined)):
            throw JinjaFailure(undefined.problem)
        default: break
        }
        if let left = left.integer, let right = right.integer { return left < right }
        if let left = left.number, let right = right.number { return left < right }
        throw JinjaFailure(
            "'\(symbol)' not supported between '\(left.typeName)' and '\(right.typeName)'")
    }

    /// `a OPERATOR b`.
    static func compare(
        _ left: JinjaValue, _ comparison: JinjaComparison, _ right: JinjaValue
    ) throws
        -> Bool
    {
        let symbol = comparison.rawValue
        // NaN is neither less nor equal nor greater
        switch comparison {
        case .equal: return areEqual(left, right)
        case .notEqual: return !areEqual(left, right)
        case .less: return try isLess(left, right, operator: symbol)
        case .greater: return try isLess(right, left, operator: symbol)
        case .lessOrEqual: return try isLess(left, right, operator: symbol) || areEqual(left, right)
        case .greaterOrEqual:
            return try isLess(right, left, operator: symbol) || areEqual(left, right)
        case .contained: return try right.contains(left)
        case .notContained: return try !right.contains(left)
        }
    }

    /// `element in self`.
    func contains(_ element: JinjaValue) throws -> Bool {
        switch self {
        case .string(let text):
            guard case .string(let part) = element else {
                throw JinjaFailure(
                    "'in <string>' requires string as left operand, not \(element.typeName)")
            }
            return PythonText.contains(text, part)
        case .dictionary(let dictionary): return try dictionary.value(at: element) != nil
        default: return try elements().contains { JinjaValue.areEqual($0, element) }
        }
    }

    /// What a loop walks through: elements, keys, code points; a generator is empty afterwards.
    func elements() throws -> [JinjaValue] {
        switch self {
        case .undefined: return []
        case .list(let elements), .tuple(let elements): return elements
        case .dictionary(let dictionary): return dictionary.keys
        case .string(let text): return text.unicodeScalars.map { .string(String($0)) }
        case .sequence(let sequence): return sequence.take()
        default: throw JinjaFailure("'\(typeName)' object is not iterable")
        }
    }

    /// `len(self)`.
    func count() throws -> Int {
        switch self {
        case .undefined: return 0
        case .list(let elements), .tuple(let elements): return elements.count
        case .dictionary(let dictionary): return dictionary.count
        case .string(let text): return PythonText.count(text)
        case .sequence(let sequence): if let count = sequence.count { return count }
        case .loop(let loop): return loop.elements.count
        default: break
        }
        throw JinjaFailure("object of type '\(typeName)' has no len()")
    }
}
