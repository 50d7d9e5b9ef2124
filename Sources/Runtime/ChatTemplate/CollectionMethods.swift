/// The methods of lists, tuples and dictionaries that change nothing.
enum CollectionMethods {
    static func method(_ name: String, of elements: [JinjaValue]) -> JinjaValue? {
        switch name {
        case "copy": return .function(JinjaFunction(name) { _, _ in .list(elements) })
        case "index", "count":
            return .function(
                JinjaFunction(name) { interpreter, arguments in
                    guard let element = try arguments.bind(name, "value", required: 1)[0] else {
                        return .none
                    }
                    try interpreter.spend(on: .list(elements))
                    let indices = elements.indices.filter {
                        JinjaValue.areEqual(elements[$0], element)
                    }
                    if name == "count" { return .int(indices.count) }
                    guard let first = indices.first else {
                        throw JinjaFailure("\(element.representation) is not in list")
                    }
                    return .int(first)
                })
        default: return nil
        }
    }

    static func method(_ name: String, of dictionary: JinjaDictionary) -> JinjaValue? {
        switch name {
        case "get":
            return .function(
                JinjaFunction(name) { _, arguments in
                    let arguments = try arguments.bind(name, "key", "default", required: 1)
                    let found = try arguments[0].flatMap { try dictionary.value(at: $0) }
                    return found ?? arguments[1] ?? .none
                })
        case "keys", "values", "items":
            return .function(
                JinjaFunction(name) { interpreter, arguments in
                    _ = try arguments.bind(name)
                    try interpreter.spend(bytes: 8 * dictionary.count)
                    let elements: [JinjaValue] =
                        switch name {
                        case "keys": dictionary.keys
                        case "values": dictionary.values
                        default: dictionary.items.map { .tuple([$0.key, $0.value]) }
                        }
                    return .sequence(JinjaSequence(.view("dict_" + name), elements))
                })
        case "copy": return .function(JinjaFunction(name) { _, _ in .dictionary(dictionary) })
        default: return nil
        }
    }
}
