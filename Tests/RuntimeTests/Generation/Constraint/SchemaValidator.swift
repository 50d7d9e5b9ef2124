import Foundation
import LorikeetRuntime

/// Whether a document satisfies a schema, decided the plain way and apart from the grammar.
struct SchemaValidator {
    let root: JSON

    func accepts(_ value: JSON, _ schema: JSON) -> Bool {
        if let all = schema.bool { return all }
        if let reference = schema["$ref"]?.string {
            let target = reference.split(separator: "/").dropFirst().reduce(root) {
                $0[String($1)] ?? .bool(false)
            }
            if !accepts(value, target) { return false }
        }
        if let values = schema["enum"]?.array, !values.contains(value) { return false }
        if let constant = schema["const"], constant != value { return false }
        for key in ["anyOf", "oneOf"] {
            if let list = schema[key]?.array, !list.contains(where: { accepts(value, $0) }) {
                return false
            }
        }
        if let list = schema["allOf"]?.array, !list.allSatisfy({ accepts(value, $0) }) {
            return false
        }
        if let type = schema["type"] {
            let types = (type.array ?? [type]).compactMap(\.string)
            if !types.contains(where: { hasType(value, $0) }) { return false }
        }
        switch value {
        case .string(let text): return acceptsString(text, schema)
        case .int, .double: return acceptsNumber(value.double ?? .nan, schema)
        case .array(let elements): return acceptsArray(elements, schema)
        case .object(let members): return acceptsObject(members, schema)
        case .null, .bool: return true
        }
    }

    private func hasType(_ value: JSON, _ type: String) -> Bool {
        switch value {
        case .null: type == "null"
        case .bool: type == "boolean"
        case .int: type == "integer" || type == "number"
        // Past 64 bits an integer is read as a double.
        case .double(let number):
            type == "number" || type == "integer" && number == number.rounded()
        case .string: type == "string"
        case .array: type == "array"
        case .object: type == "object"
        }
    }

    private func acceptsString(_ text: String, _ schema: JSON) -> Bool {
        let count = text.unicodeScalars.count
        if let least = schema["minLength"]?.int, count < least { return false }
        if let most = schema["maxLength"]?.int, count > most { return false }
        guard let pattern = schema["pattern"]?.string else { return true }
        return text.range(of: pattern, options: .regularExpression) != nil
    }

    private func acceptsNumber(_ number: Double, _ schema: JSON) -> Bool {
        func holds(_ key: String, _ relation: (Double, Double) -> Bool) -> Bool {
            schema[key]?.double.map { relation(number, $0) } ?? true
        }
        return holds("minimum", >=) && holds("maximum", <=) && holds("exclusiveMinimum", >)
            && holds("exclusiveMaximum", <)
    }

    private func acceptsArray(_ elements: [JSON], _ schema: JSON) -> Bool {
        if let least = schema["minItems"]?.int, elements.count < least { return false }
        if let most = schema["maxItems"]?.int, elements.count > most { return false }
        let prefix = schema["prefixItems"]?.array ?? []
        return zip(elements, prefix).allSatisfy { accepts($0, $1) }
            && elements.dropFirst(prefix.count).allSatisfy { accepts($0, schema["items"] ?? true) }
    }

    private func acceptsObject(_ members: JSON.Object, _ schema: JSON) -> Bool {
        for name in schema["required"]?.array ?? [] where members[name.string ?? ""] == nil {
            return false
        }
        return members.allSatisfy { name, value in
            accepts(
                value, schema["properties"]?[name] ?? schema["additionalProperties"] ?? true)
        }
    }
}
