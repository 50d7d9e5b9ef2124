/// What went wrong inside a template; the line is added where the template's name is known.
struct JinjaFailure: Error {
    /// The template called `raise_exception`: its own words for a chat it cannot render.
    var isRaised = false
    /// A line other than the one being executed: syntax errors know theirs.
    var line: Int?
    var message: String

    init(_ message: String, line: Int? = nil, isRaised: Bool = false) {
        self.message = message
        self.line = line
        self.isRaised = isRaised
    }
}
