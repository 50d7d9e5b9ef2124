import Foundation

/// How Python writes numbers and strings: `repr`, `format`, `%`.
enum PythonFormat {
    /// `repr` of a float: the shortest digits that read back, an exponent below 1e-4 and from 1e16.
    static func text(_ value: Double) -> String {
        if value.isNaN { return "nan" }
        if value.isInfinite { return value < 0 ? "-inf" : "inf" }
        // Swift prints the same digits and only sets the point elsewhere.
        var text = "\(value)"
        let sign = text.hasPrefix("-") ? "-" : ""
        text.removeFirst(sign.count)
        let halves = text.split(separator: "e")
        let parts = halves[0].split(separator: ".")
        let whole = String(parts[0])
        let fraction = parts.count > 1 && parts[1] != "0" ? String(parts[1]) : ""
        var digits = whole + fraction
        var point = whole.count + (halves.count > 1 ? Int(halves[1]) ?? 0 : 0)
        while digits.hasPrefix("0"), digits.count > 1 {
            digits.removeFirst()
            point -= 1
        }
        while digits.hasSuffix("0"), digits.count > 1 { digits.removeLast() }
        if digits == "0" { return sign + "0.0" }
        let exponent = point - 1
        if exponent < -4 || exponent >= 16 {
            let mantissa = digits.prefix(1) + (digits.count > 1 ? "." + digits.dropFirst() : "")
            let magnitude = String(abs(exponent))
            return sign + mantissa + (exponent < 0 ? "e-" : "e+")
                + (magnitude.count < 2 ? "0" : "") + magnitude
        }
        if point <= 0 { return sign + "0." + String(repeating: "0", count: -point) + digits }
        if digits.count <= point {
            return sign + digits + String(repeating: "0", count: point - digits.count) + ".0"
        }
        return sign + digits.prefix(point) + "." + digits.dropFirst(point)
    }

    /// `repr` of a string.
    static func quote(_ text: String, to output: inout String) {
        let scalars = text.unicodeScalars
        let quote: Unicode.Scalar = scalars.contains("'") && !scalars.contains("\"") ? "\"" : "'"
        output.unicodeScalars.append(quote)
        for scalar in scalars {
            switch scalar {
            case quote, "\\": output += "\\" + String(scalar)
            case "\n": output += "\\n"
            case "\r": output += "\\r"
            case "\t": output += "\\t"
            default:
                if isPrintable(scalar) {
                    output.unicodeScalars.append(scalar)
                } else if scalar.value < 0x100 {
                    output += "\\x" + hexadecimal(scalar.value, digits: 2)
                } else if scalar.value < 0x10000 {
                    output += "\\u" + hexadecimal(scalar.value, digits: 4)
                } else {
                    output += "\\U" + hexadecimal(scalar.value, digits: 8)
                }
            }
        }
        output.unicodeScalars.append(quote)
    }

    private static func isPrintable(_ scalar: Unicode.Scalar) -> Bool {
        if scalar.isASCII { return scalar.value >= 0x20 && scalar.value != 0x7F }
        switch scalar.properties.generalCategory {
        case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator,
            .paragraphSeparator, .spaceSeparator:
            return false
        default: return true
        }
    }

    static func hexadecimal(_ value: UInt32, digits: Int) -> String {
        let text = String(value, radix: 16)
        return String(repeating: "0", count: max(0, digits - text.count)) + text
    }

    /// `value` with `digits` decimals, rounded half to even on its exact binary value as Python does.
    static func fixed(_ value: Double, digits: Int) -> String {
        String(format: "%.\(digits)f", value)
    }

    // MARK: % and format

    /// A conversion: flags, width, precision, type; what "%-8.3f" and "{:>8.3f}" have in common.
    private struct Conversion {
        var fill: Unicode.Scalar = " "
        var alignment: Unicode.Scalar?
        var showsPlus = false
        var width = 0
        var precision: Int?
        var type: Unicode.Scalar?
    }

    /// Widths and precisions past this are refused: they only pad.
    private static let widest = 10_000

    /// `format % arguments`.
    static func percent(
        _ format: String, _ arguments: JinjaValue, _ interpreter: JinjaInterpreter
    ) throws -> String {
        try interpreter.spend(bytes: format.utf8.count)
        var output = ""
        var positional: [JinjaValue] = [arguments]
        if case .tuple(let elements) = arguments { positional = elements }
        var next = 0
        var rest = format.unicodeScalars[...]
        while let scalar = rest.popFirst() {
            guard scalar == "%" else {
                output.unicodeScalars.append(scalar)
                continue
            }
            if rest.first == "%" {
                rest.removeFirst()
                output += "%"
                continue
            }
            var value: JinjaValue?
            if rest.first == "(" {
                let name = String(rest.dropFirst().prefix { $0 != ")" })
                rest = rest.dropFirst(name.unicodeScalars.count + 2)
                guard case .dictionary(let dictionary) = arguments,
                    let found = dictionary.value(at: name)
                else { throw JinjaFailure("format has no value for '\(name)'") }
                value = found
                next = positional.count
            }
            var conversion = Conversion()
            while let flag = rest.first, "-+ 0#".unicodeScalars.contains(flag) {
                rest.removeFirst()
                if flag == "-" { conversion.alignment = "<" }
                if flag == "0" { conversion.fill = "0" }
                if flag == "+" { conversion.showsPlus = true }
            }
            conversion.width = try number(&rest) ?? 0
            if rest.first == "." {
                rest.removeFirst()
                conversion.precision = try number(&rest) ?? 0
            }
            conversion.type = rest.popFirst()
            if value == nil {
                guard next < positional.count else {
                    throw JinjaFailure("not enough arguments for format string")
                }
                value = positional[next]
                next += 1
            }
            if conversion.alignment == nil {
                conversion.alignment = conversion.fill == "0" ? "=" : ">"
            }
            output += try text(value ?? .none, conversion, interpreter)
        }
        if case .dictionary = arguments { return output }
        guard next >= positional.count else {
            throw JinjaFailure("not all arguments converted during string formatting")
        }
        return output
    }

    private static func number(_ text: inout Substring.UnicodeScalarView) throws -> Int? {
        let digits = String(text.prefix { ("0"..."9").contains($0) })
        guard !digits.isEmpty else { return nil }
        text = text.dropFirst(digits.unicodeScalars.count)
        guard let value = Int(digits), value <= widest else {
            throw JinjaFailure("a format's width past \(widest)")
        }
        return value
    }

    /// One value through a format specification such as ">8.2f".
    private static func format(
        _ value: JinjaValue, specification: String, _ interpreter: JinjaInterpreter
    ) throws -> String {
        var conversion = Conversion()
        var rest = specification.unicodeScalars[...]
        let alignments = "<>^=".unicodeScalars
        if let second = rest.dropFirst().first, alignments.contains(second), let first = rest.first
        {
            conversion.fill = first
            conversion.alignment = second
            rest = rest.dropFirst(2)
        } else if let first = rest.first, alignments.contains(first) {
            conversion.alignment = first
            rest.removeFirst()
        }
        if rest.first == "+" {
            conversion.showsPlus = true
            rest.removeFirst()
        }
        if rest.first == "0" {
            rest.removeFirst()
            conversion.fill = "0"
            conversion.alignment = conversion.alignment ?? "="
        }
        conversion.width = try number(&rest) ?? 0
        if rest.first == "." {
            rest.removeFirst()
            conversion.precision = try number(&rest) ?? 0
        }
        conversion.type = rest.popFirst()
        guard rest.isEmpty else {
            throw JinjaFailure("the format '\(specification)' is not supported")
        }
        return try text(value, conversion, interpreter)
    }

    private static func text(
        _ value: JinjaValue, _ conversion: Conversion, _ interpreter: JinjaInterpreter
    ) throws -> String {
        try interpreter.spend(on: value)
        try interpreter.spend(bytes: conversion.width + (conversion.precision ?? 0))
        var text: String
        var isNumber = true
        switch (conversion.type, value) {
        case ("s", _):
            text = value.text
            isNumber = false
        case ("r", _):
            text = value.representation
            isNumber = false
        case ("d", _), ("i", _):
            guard let number = value.number, let integer = Int(exactly: number.rounded(.towardZero))
            else { throw JinjaFailure("a number is required, not \(value.typeName)") }
            text = String(value.integer ?? integer)
        case ("f", _), ("F", _):
            guard let number = value.number else {
                throw JinjaFailure("a number is required, not \(value.typeName)")
            }
            text = fixed(number, digits: conversion.precision ?? 6)
        case ("x", _), ("X", _):
            guard let integer = value.integer else {
                throw JinjaFailure("an integer is required, not \(value.typeName)")
            }
            text = String(integer, radix: 16, uppercase: conversion.type == "X")
        case (nil, _):
            text = value.text
            isNumber = value.number != nil
        default:
            throw JinjaFailure(
                "the format type '\(conversion.type.map(String.init) ?? "")' is not supported")
        }
        if !isNumber, let precision = conversion.precision {
            text = String(text.unicodeScalars.prefix(precision))
        }
        if isNumber, conversion.showsPlus, !text.hasPrefix("-") { text = "+" + text }
        return padded(text, conversion, isNumber: isNumber)
    }

    private static func padded(_ text: String, _ conversion: Conversion, isNumber: Bool) -> String {
        let missing = conversion.width - PythonText.count(text)
        guard missing > 0 else { return text }
        let fill = { (count: Int) in String(repeating: String(conversion.fill), count: count) }
        switch conversion.alignment ?? (isNumber ? ">" : "<") {
        case "<": return text + fill(missing)
        case "^": return fill(missing / 2) + text + fill(missing - missing / 2)
        case "=" where isNumber && (text.hasPrefix("-") || text.hasPrefix("+")):
            return text.prefix(1) + fill(missing) + text.dropFirst()
        default: return fill(missing) + text
        }
    }

    /// `text.format(…)`: fields by position and name, with `!r`, `!s` and a format specification.
    static func format(
        _ text: String, _ arguments: JinjaArguments, _ interpreter: JinjaInterpreter
    ) throws -> String {
        var output = ""
        var next = 0
        var rest = text.unicodeScalars[...]
        while let scalar = rest.popFirst() {
            if scalar == "{" || scalar == "}", rest.first == scalar {
                rest.removeFirst()
                output.unicodeScalars.append(scalar)
                continue
            }
            guard scalar != "}" else {
                throw JinjaFailure("Single '}' encountered in format string")
            }
            guard scalar == "{" else {
                output.unicodeScalars.append(scalar)
                continue
            }
            let content = rest.prefix { $0 != "}" }
            rest = rest[content.endIndex...]
            guard rest.popFirst() == "}", !content.contains("{") else {
                throw JinjaFailure("a format field without its end, or nested")
            }
            let halves = content.split(
                separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            let marks = halves[0].split(
                separator: "!", maxSplits: 1, omittingEmptySubsequences: false)
            var value = try argument(String(marks[0]), arguments, &next, interpreter)
            try interpreter.spend(on: value)
            if marks.count > 1 {
                value = .string(
                    marks[1].elementsEqual("r".unicodeScalars) ? value.representation : value.text)
            }
            output += try format(
                value, specification: halves.count > 1 ? String(halves[1]) : "", interpreter)
        }
        return output
    }

    /// `name.attribute[item]`, where an empty name counts up.
    private static func argument(
        _ path: String, _ arguments: JinjaArguments, _ next: inout Int,
        _ interpreter: JinjaInterpreter
    ) throws -> JinjaValue {
        let head = String(path.unicodeScalars.prefix { $0 != "." && $0 != "[" })
        var rest = path.unicodeScalars.dropFirst(head.unicodeScalars.count)
        var value: JinjaValue?
        if head.isEmpty || Int(head) != nil {
            let index = Int(head) ?? next
            next += head.isEmpty ? 1 : 0
            value = arguments.positional.indices.contains(index) ? arguments.positional[index] : nil
        } else {
            value = arguments.keywords.first { $0.name == head }?.value
        }
        guard var value else { throw JinjaFailure("format has no argument '\(head)'") }
        while let mark = rest.popFirst() {
            let isItem = mark == "["
            let name = rest.prefix { isItem ? $0 != "]" : $0 != "." && $0 != "[" }
            rest = rest[name.endIndex...].dropFirst(isItem ? 1 : 0)
            value =
                isItem
                ? try interpreter.item(
                    Int(String(name)).map { .int($0) } ?? .string(String(name)), of: value)
                : try interpreter.attribute(String(name), of: value)
        }
        return value
    }
}
