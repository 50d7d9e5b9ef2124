extension JinjaValue {
    /// Python's `str()`.
    var text: String {
        switch self {
        case .undefined: ""
        case .string(let text): text
        default: representation
        }
    }

    /// Python's `repr()`.
    var representation: String {
        var output = ""
        writeRepresentation(to: &output)
        return output
    }

    private func writeRepresentation(to output: inout String) {
        switch self {
        case .undefined: output += "Undefined"
        case .none: output += "None"
        case .bool(let value): output += value ? "True" : "False"
        case .int(let value): output += String(value)
        case .float(let value): output += PythonFormat.text(value)
        case .string(let text): PythonFormat.quote(text, to: &output)
        case .list(let elements): Self.write(elements, "[", "]", to: &output)
        case .tuple(let elements):
            Self.write(elements, "(", elements.count == 1 ? ",)" : ")", to: &output)
        case .dictionary(let dictionary):
            output += "{"
            for (index, item) in dictionary.items.enumerated() {
                if index > 0 { output += ", " }
                item.key.writeRepresentation(to: &output)
                output += ": "
                item.value.writeRepresentation(to: &output)
            }
            output += "}"
        case .sequence(let sequence):
            switch sequence.kind {
            case .view(let name): Self.write(sequence.take(), name + "([", "])", to: &output)
            case .range: Self.writeRange(sequence.take(), to: &output)
            case .generator: output += "<generator object>"
            }
        case .function(let function): output += "<function \(function.name)>"
        case .namespace: output += "<Namespace>"
        case .loop(let loop): output += "<LoopContext \(loop.index + 1)/\(loop.elements.count)>"
        }
    }

    private static func write(
        _ elements: [JinjaValue], _ opening: String, _ closing: String, to output: inout String
    ) {
        output += opening
        for (index, element) in elements.enumerated() {
            if index > 0 { output += ", " }
            element.writeRepresentation(to: &output)
        }
        output += closing
    }

    private static func writeRange(_ elements: [JinjaValue], to output: inout String) {
        let numbers = elements.compactMap(\.integer)
        guard let first = numbers.first, let last = numbers.last else {
            output += "range(0, 0)"
            return
        }
        let step = numbers.count > 1 ? numbers[1] - first : 1
        output += "range(\(first), \(last + step)" + (step == 1 ? ")" : ", \(step))")
    }

    // MARK: JSON

    /// `json.dumps(self, ensure_ascii=False)` as transformers' `tojson` calls it.
    ///
    /// The indent is the text of one level, or nil for everything on one line.
    func json(
        indent: String?, separators: (item: String, key: String)?, sortKeys: Bool
    ) throws
        -> String
    {
        let separators = separators ?? (indent == nil ? ", " : ",", ": ")
        var writer = JSONText(
            indent: indent, item: separators.item, key: separators.key, sortKeys: sortKeys)
        try writer.write(self, level: 0)
        return writer.output
    }
}

private struct JSONText {
    let indent: String?
    let item: String
    let key: String
    let sortKeys: Bool
    var output = ""

    init(indent: String?, item: String, key: String, sortKeys: Bool) {
        self.indent = indent
        self.item = item
        self.key = key
        self.sortKeys = sortKeys
    }

    mutating func write(_ value: JinjaValue, level: Int) throws {
        // a wide indent can make far more text than the value has
        guard output.utf8.count <= 16 * JinjaInterpreter.maximumWork else {
            throw JinjaFailure("tojson made more than \(16 * JinjaInterpreter.maximumWork) bytes")
        }
        switch value {
        case .none: output += "null"
        case .bool(let value): output += value ? "true" : "false"
        case .int(let value): output += String(value)
        case .float(let value): output += number(value)
        case .string(let text): quote(text)
        case .list(let elements), .tuple(let elements):
            try writeAll(elements.count, "[", "]", level: level) { index, writer in
                try writer.write(elements[index], level: level + 1)
            }
        case .dictionary(let dictionary):
            var items = dictionary.items
            if sortKeys { items = try JinjaFilters.sorted(items) { $0.key } }
            try writeAll(items.count, "{", "}", level: level) { index, writer in
                writer.quote(try writer.keyText(items[index].key))
                writer.output += writer.key
                try writer.write(items[index].value, level: level + 1)
            }
        default:
            throw JinjaFailure("Object of type \(value.typeName) is not JSON serializable")
        }
    }

    private mutating func writeAll(
        _ count: Int, _ opening: String, _ closing: String, level: Int,
        _ body: (Int, inout JSONText) throws -> Void
    ) throws {
        output += opening
        for index in 0..<count {
            if index > 0 { output += item }
            newline(level + 1)
            try body(index, &self)
        }
        if count > 0 { newline(level) }
        output += closing
    }

    private mutating func newline(_ level: Int) {
        guard let indent else { return }
        output += "\n" + String(repeating: indent, count: level)
    }

    private func number(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value < 0 ? "-Infinity" : "Infinity" }
        return PythonFormat.text(value)
    }

    private func keyText(_ value: JinjaValue) throws -> String {
        switch value {
        case .string(let text): text
        case .none: "null"
        case .bool(let value): value ? "true" : "false"
        case .int(let value): String(value)
        case .float(let value): number(value)
        default: throw JinjaFailure("keys must be str, int, float, bool or None")
        }
    }

    private mutating func quote(_ text: String) {
        output += "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": output += "\\\""
            case "\\": output += "\\\\"
            case "\n": output += "\\n"
            case "\r": output += "\\r"
            case "\t": output += "\\t"
            case "\u{8}": output += "\\b"
            case "\u{C}": output += "\\f"
            case "\0"..<" ": output += "\\u" + PythonFormat.hexadecimal(scalar.value, digits: 4)
            default: output.unicodeScalars.append(scalar)
            }
        }
        output += "\""
    }
}
