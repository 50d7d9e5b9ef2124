import ArgumentParser
import LorikeetRuntime

extension ParsableCommand {
    /// The command's flags as they were parsed, defaults included, as a file that `--config` takes.
    ///
    /// Left out are flags without a value, and those that concern one call and not what it does.
    ///
    /// - Parameter threads: how many the command computes on, which its result may depend on.
    /// - Returns: the file's text.
    /// - Throws: what asking the parser for its flags throws.
    func effectiveConfiguration(threads: Int) throws -> String {
        let name = Self._commandName
        let flags = try CommandFlags(of: [name])
        let ofOneCall = ["config", "resume", "force", "dry-run", "json"]
        var values = parsedValues(of: self).filter {
            flags[$0.key] != nil && !ofOneCall.contains($0.key) && $0.key != "threads"
        }
        values.append(("threads", "\(threads)"))
        return "# lorikeet \(name) --config with this file does the same again.\n"
            + values.map { "\($0.key): \($0.yaml)\n" }.joined()
    }
}

/// The values behind the parser's property wrappers, by the long names that it makes of the properties.
///
/// The parser has no other way to list what it parsed; a test compares the keys with its help.
private func parsedValues(of arguments: Any) -> [(key: String, yaml: String)] {
    Mirror(reflecting: arguments).children.flatMap { child -> [(key: String, yaml: String)] in
        guard let label = child.label, label.hasPrefix("_"),
            let value = Mirror(reflecting: child.value).descendant("_parsedValue", "value")
        else { return [] }
        if value is any ParsableArguments { return parsedValues(of: value) }
        return yaml(value).map { [(key: flagName(label.dropFirst()), yaml: $0)] } ?? []
    }
}

/// `learning-rate` for `learningRate`.
private func flagName(_ property: Substring) -> String {
    property.reduce(into: "") { $0 += $1.isUppercase ? "-\($1.lowercased())" : String($1) }
}

/// The value in YAML, which is read back as the same argument; nil where there is none.
private func yaml(_ value: Any) -> String? {
    let mirror = Mirror(reflecting: value)
    switch mirror.displayStyle {
    case .optional: return mirror.children.first.flatMap { yaml($0.value) }
    case .collection:
        return "[" + mirror.children.compactMap { yaml($0.value) }.joined(separator: ", ") + "]"
    default:
        let text = (value as? any ExpressibleByArgument)?.defaultValueDescription ?? "\(value)"
        // JSON's strings are YAML's; numbers and true and false stand as they are.
        return value is Bool || Double(text) != nil ? text : JSON.string(text).text()
    }
}
