import Foundation

/// The functions that transformers gives to chat templates, and jinja2's own.
enum JinjaGlobals {
    /// jinja2's bound on `range`.
    static let longestRange = 100_000

    static var all: [String: JinjaValue] {
        [
            "range": .function(JinjaFunction("range", range)),
            "namespace": .function(JinjaFunction("namespace", namespace)),
            "dict": .function(JinjaFunction("dict") { .dictionary(try dictionary($0, $1)) }),
            "raise_exception": .function(JinjaFunction("raise_exception", raise)),
            "strftime_now": .function(JinjaFunction("strftime_now", now)),
        ]
    }

    private static func range(
        _ interpreter: JinjaInterpreter, _ arguments: JinjaArguments
    ) throws
        -> JinjaValue
    {
        let bounds = try arguments.bind("range", "start", "stop", "step", required: 1)
            .map { try $0?.requireInteger("range") }
        let start = bounds[1] == nil ? 0 : bounds[0] ?? 0
        let stop = bounds[1] ?? bounds[0] ?? 0
        let step = bounds[2] ?? 1
        guard step != 0 else { throw JinjaFailure("range() arg 3 must not be zero") }
        var elements: [JinjaValue] = []
        for element in stride(from: start, to: stop, by: step) {
            guard elements.count < longestRange else {
                throw JinjaFailure(
                    "Range too big. The sandbox blocks ranges larger than \(longestRange).")
            }
            elements.append(.int(element))
        }
        try interpreter.spend(bytes: 8 * elements.count)
        return .sequence(JinjaSequence(.range, elements))
    }

    private static func dictionary(
        _ interpreter: JinjaInterpreter, _ arguments: JinjaArguments
    ) throws
        -> JinjaDictionary
    {
        var dictionary = JinjaDictionary()
        if let source = arguments.positional.first {
            try interpreter.spend(on: source)
            if case .dictionary(let given) = source {
                dictionary = given
            } else {
                for pair in try source.elements() {
                    let pair = try pair.elements()
                    guard pair.count == 2 else {
                        throw JinjaFailure("dict() needs pairs, got \(pair.count) elements")
                    }
                    try dictionary.set(pair[0], pair[1])
                }
            }
        }
        for keyword in arguments.keywords { dictionary.set(keyword.name, keyword.value) }
        return dictionary
    }

    private static func namespace(
        _ interpreter: JinjaInterpreter, _ arguments: JinjaArguments
    ) throws
        -> JinjaValue
    {
        var attributes: [String: JinjaValue] = [:]
        for item in try dictionary(interpreter, arguments).items {
            let name = try item.key.requireString("namespace")
            try requirePublic(name)
            attributes[name] = item.value
        }
        return interpreter.makeNamespace(attributes)
    }

    /// transformers keeps names that begin with "_" off a namespace.
    static func requirePublic(_ name: String) throws {
        guard !name.hasPrefix("_") else {
            throw JinjaFailure(
                "a namespace cannot have the attribute '\(name)': it begins with '_'")
        }
    }

    private static func raise(
        _ interpreter: JinjaInterpreter, _ arguments: JinjaArguments
    ) throws
        -> JinjaValue
    {
        let message = try arguments.bind("raise_exception", "message", required: 1)[0] ?? .none
        throw JinjaFailure(try interpreter.text(of: message), isRaised: true)
    }

    private static func now(
        _ interpreter: JinjaInterpreter, _ arguments: JinjaArguments
    ) throws
        -> JinjaValue
    {
        let format = try arguments.bind("strftime_now", "format", required: 1)[0] ?? .none
        let pattern = try format.requireString("strftime_now")
        guard !pattern.isEmpty else { return .string("") }
        var time = time(nil)
        var local = tm()
        localtime_r(&time, &local)
        var buffer = [UInt8](repeating: 0, count: 1024)
        let count = buffer.withUnsafeMutableBytes { bytes in
            strftime(
                bytes.baseAddress?.assumingMemoryBound(to: CChar.self), bytes.count, pattern, &local
            )
        }
        guard count > 0 else {
            throw JinjaFailure("strftime_now: a date longer than 1023 bytes, or empty")
        }
        return .string(String(decoding: buffer[..<count], as: UTF8.self))
    }
}
