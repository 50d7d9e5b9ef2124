import Foundation
import LorikeetRuntime
import Yams

/// A YAML file of flags by their long names: `--config run.yaml`.
///
/// It becomes arguments before the parser sees any, in front of those of the command line. So values,
/// ranges and what excludes what are the parser's to check, as for any argument; here it is only
/// known which flags there are and which take a value.
struct ConfigurationFile {
    /// One flag of the file.
    private struct Entry {
        let flag: CommandFlags.Flag
        let line: Int
        /// As they would stand on a command line.
        let arguments: [String]
    }

    private static let flag = "--config"
    // A thousand times what all flags take.
    private static let largestSize = 1 << 20

    private let path: String
    private let flags: CommandFlags
    private let entries: [Entry]

    /// Reads the file that `arguments` name; nil where they name none, or their command takes none.
    ///
    /// - Throws: `.notFound`, `.io`; `.malformed` naming the line: text that is no YAML, a key twice, an
    ///   unknown key, a value that is neither a scalar nor a list of scalars.
    init?(namedIn arguments: [String]) throws {
        let given = arguments.prefix { $0 != "--" }
        guard
            let place = given.lastIndex(where: { $0 == Self.flag || $0.hasPrefix(Self.flag + "=") })
        else { return nil }
        let (argument, next) = (given[place], place + 1)
        guard argument != Self.flag || next < given.endIndex else { return nil }
        let flags = try CommandFlags(of: arguments)
        guard flags["config"] != nil else { return nil }
        let path =
            argument == Self.flag ? given[next] : String(argument.dropFirst(Self.flag.count + 1))
        self.path = path
        self.flags = flags
        entries = try Self.mapping(path).reduce(into: []) { entries, pair in
            let entry = try Self.entry(pair.key, pair.value, flags, path)
            guard !entries.contains(where: { $0.flag.name == entry.flag.name }) else {
                throw LorikeetError(
                    .malformed, "\(path), line \(entry.line)", "\(entry.flag.name) is given twice")
            }
            entries.append(entry)
        }
    }

    /// `arguments` with the file's in front, less those that the command line gives.
    func expanded(_ arguments: [String]) -> [String] {
        let rest = arguments.dropFirst(flags.command.count)
        let ours = entries.filter { entry in
            !rest.contains { argument in
                entry.flag.spellings.contains { argument == $0 || argument.hasPrefix($0 + "=") }
            }
        }
        return flags.command + ours.flatMap(\.arguments) + rest
    }

    /// The lines of the file that say the flags that `message` speaks of.
    func places(of message: String) -> [String] {
        let words = Set(message.split { !$0.isLetter && !$0.isNumber && $0 != "-" })
        return entries.filter { words.contains("--\($0.flag.name)") }.map {
            "\(path), line \($0.line): \($0.arguments.joined(separator: " "))"
        }
    }

    // MARK: Reading

    private static func mapping(_ path: String) throws -> [(key: Node, value: Node)] {
        let file = try MappedFile(path: path)
        guard file.bytes.count <= largestSize else {
            throw LorikeetError(
                .malformed, path, "a configuration of this size", expected: "at most 1 MiB",
                got: "\(file.bytes.count) bytes")
        }
        let text = withExtendedLifetime(file) { String(validating: file.bytes, as: UTF8.self) }
        guard let text = text?.replacing("\r\n", with: "\n") else {
            throw LorikeetError(.malformed, path, "it is no UTF-8")
        }
        try refuseAliases(text, path)
        let node: Node?
        do {
            node = try compose(yaml: text)
        } catch let error as YamlError {
            throw failure(error, path)
        }
        guard let node else { return [] }
        guard let mapping = node.mapping else {
            throw LorikeetError(
                .malformed, path, "it is no mapping", expected: "lines like rank: 16")
        }
        return mapping.map { ($0.key, $0.value) }
    }

    /// Refuses `*name` before YAML is read.
    ///
    /// A few lines of aliases to aliases stand for billions of values. A star in a quoted text is taken for one too, which a list of flags can do without.
    private static func refuseAliases(_ text: String, _ path: String) throws {
        // All that ends a line, and a comment with it, in YAML 1.1.
        let breaks: Set<Unicode.Scalar> = ["\n", "\r", "\u{85}", "\u{2028}", "\u{2029}"]
        let lines = text.unicodeScalars.split(omittingEmptySubsequences: false) {
            breaks.contains($0)
        }
        for (index, line) in lines.enumerated() {
            if line.first(where: { !$0.properties.isWhitespace }) == "#" { continue }
            var before: Unicode.Scalar = " "
            for (scalar, after) in zip(line, line.dropFirst()) {
                let begins =
                    before.properties.isWhitespace || "[]{},:-?\"'".unicodeScalars.contains(before)
                if scalar == "*", begins, !after.properties.isWhitespace {
                    throw LorikeetError(
                        .malformed, "\(path), line \(index + 1)", "aliases (*name) are not taken",
                        advice: "Write the value out.")
                }
                before = scalar
            }
        }
    }

    /// The error without the text around it, which can be the whole file.
    private static func failure(_ error: YamlError, _ path: String) -> LorikeetError {
        switch error {
        case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
            .composer(_, let problem, let mark, _):
            LorikeetError(.malformed, "\(path), line \(mark.line)", "no YAML: \(problem)")
        case .duplicatedKeysInMapping(let keys, let context):
            LorikeetError(
                .malformed, "\(path), line \(context.mark.line)",
                "the key \(keys.first ?? "") is given twice")
        default: LorikeetError(.malformed, path, "no YAML")
        }
    }

    private static func entry(
        _ key: Node, _ value: Node, _ flags: CommandFlags, _ path: String
    ) throws -> Entry {
        let line = key.mark?.line ?? value.mark?.line ?? 0
        let place = "\(path), line \(line)"
        guard let name = key.scalar?.string else {
            throw LorikeetError(.malformed, place, "a key that is no flag's name")
        }
        guard name != "config", let flag = flags[name.replacing("_", with: "-")] else {
            let nearest = flags.nearest(to: name)
            throw LorikeetError(
                .malformed, place, "unknown key \(name)",
                advice: nearest.map {
                    "Is it \($0)? lorikeet \(flags.command.joined(separator: " ")) --help lists all."
                })
        }
        func text(_ node: Node) throws -> String {
            guard let scalar = node.scalar else {
                throw LorikeetError(
                    .malformed, place, "the value of \(name)",
                    expected: "a scalar or a list of scalars",
                    got: "something nested")
            }
            return scalar.string
        }
        if value.null != nil { return Entry(flag: flag, line: line, arguments: []) }
        guard flag.takesValue else {
            guard let isSet = value.bool else {
                throw LorikeetError(
                    .malformed, place, "the value of \(name)", expected: "true or false",
                    got: value.scalar?.string ?? "a list")
            }
            return Entry(flag: flag, line: line, arguments: isSet ? ["--\(flag.name)"] : [])
        }
        // One argument each: a value may begin with a dash.
        let values = try value.sequence.map { try $0.map(text) } ?? [text(value)]
        let given = flag.isRepeating ? values : [values.joined(separator: ",")]
        return Entry(flag: flag, line: line, arguments: given.map { "--\(flag.name)=\($0)" })
    }
}
