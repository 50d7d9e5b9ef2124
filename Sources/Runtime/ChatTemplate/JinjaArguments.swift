/// The arguments of a call.
struct JinjaArguments {
    var positional: [JinjaValue] = []
    var keywords: [(name: String, value: JinjaValue)] = []

    /// The arguments by parameter, nil where none was given.
    ///
    /// - Throws: on too many, unknown or repeated arguments, and when one of the first `required` is
    ///   missing.
    func bind(
        _ function: String, _ parameters: String..., required: Int = 0
    ) throws -> [JinjaValue?] {
        guard positional.count <= parameters.count else {
            throw JinjaFailure(
                "\(function)() takes at most \(parameters.count) arguments, got \(positional.count)"
            )
        }
        var values: [JinjaValue?] = positional
        values += repeatElement(nil, count: parameters.count - positional.count)
        for keyword in keywords {
            guard let index = parameters.firstIndex(of: keyword.name) else {
                throw JinjaFailure("\(function)() has no parameter '\(keyword.name)'")
            }
            guard values[index] == nil else {
                throw JinjaFailure("\(function)() got two values for '\(keyword.name)'")
            }
            values[index] = keyword.value
        }
        for (index, parameter) in parameters.prefix(required).enumerated()
        where values[index] == nil {
            throw JinjaFailure("\(function)() needs the argument '\(parameter)'")
        }
        return values
    }
}

extension JinjaValue {
    /// The string that a function's parameter must be.
    func requireString(_ function: String) throws -> String {
        guard case .string(let text) = self else {
            throw JinjaFailure("\(function)() needs a string, got '\(typeName)'")
        }
        return text
    }

    /// The integer that a function's parameter must be.
    func requireInteger(_ function: String) throws -> Int {
        guard let value = integer else {
            throw JinjaFailure("\(function)() needs an integer, got '\(typeName)'")
        }
        return value
    }

    /// The number that a function's parameter must be.
    func requireNumber(_ function: String) throws -> Double {
        if case .undefined(let undefined) = self { throw JinjaFailure(undefined.problem) }
        guard let value = number else {
            throw JinjaFailure("\(function)() needs a number, got '\(typeName)'")
        }
        return value
    }
}
