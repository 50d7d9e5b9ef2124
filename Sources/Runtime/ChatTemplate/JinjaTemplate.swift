/// A Jinja template as transformers renders chats with: the statements, filters, tests and methods
/// that chat templates use, with the results of Python's jinja2.
///
///     let template = try JinjaTemplate("Hello {{ name | upper }}!", name: "greeting")
///     try template.render(["name": .string("ada")])  // "Hello ADA!"
///
/// The environment is transformers' own: trim_blocks, lstrip_blocks, an immutable sandbox, loop
/// controls, `raise_exception`, `strftime_now`. A template may come from a stranger: work, depth and
/// output are bounded.
public struct JinjaTemplate: Sendable {
    private let name: String
    private let statements: [JinjaStatement]

    /// Parses `source`.
    ///
    /// - Parameters:
    ///   - source: the template.
    ///   - name: its file, for errors.
    /// - Throws: `.malformed` with the line.
    public init(_ source: String, name: String) throws {
        self.name = name
        do {
            statements = try JinjaParser.statements(of: source)
        } catch let failure as JinjaFailure {
            throw Self.error(failure, name: name, line: failure.line ?? 1)
        }
    }

    /// The text of the template with the variables of `context`.
    ///
    /// - Throws: `.invalidArgument` with the template's own message where it calls `raise_exception`;
    ///   `.malformed` with the line for everything else that jinja2 would raise, and for a template
    ///   that exceeds its bounds.
    public func render(_ context: [String: JinjaValue]) throws -> String {
        try renderMarked(context).text
    }

    /// The text, and where in it the bodies of `{% generation %}` lie, in bytes.
    ///
    /// - Returns: no places when a generation block stands in a macro or in the body of a `set`, whose text
    ///   may go anywhere.
    /// - Throws: as `render`.
    public func renderMarked(
        _ context: [String: JinjaValue]
    ) throws -> (text: String, generated: [Range<Int>]?) {
        let interpreter = JinjaInterpreter(context: context)
        do {
            return (try interpreter.render(statements), interpreter.generated)
        } catch let failure as JinjaFailure {
            throw Self.error(failure, name: name, line: interpreter.line)
        }
    }

    private static func error(_ failure: JinjaFailure, name: String, line: Int) -> LorikeetError {
        failure.isRaised
            ? LorikeetError(.invalidArgument, name, failure.message)
            : LorikeetError(.malformed, name, "line \(line): \(failure.message)")
    }
}
