/// What went wrong with a file, a flag or a request: which file, which key, expected what, got what,
/// and what to do about it.
///
/// Programmer mistakes trap instead; every bad input ends in one of these.
public struct LorikeetError: Error, Sendable, Equatable {
    /// The kind of failure, for callers that handle one kind differently.
    public enum Code: String, Sendable {
        /// A file, folder, tensor or adapter does not exist.
        case notFound
        /// A file breaks its own format: truncated, overlapping, contradictory.
        case malformed
        /// A valid file that asks for something Lorikeet does not do.
        case unsupported
        /// Two valid things that do not belong together: an adapter and another base.
        case mismatch
        /// An output that exists already.
        case exists
        /// The operating system refused: permission, full disk.
        case io
        /// A value a caller passed: a flag, a request's field.
        case invalidArgument
    }

    /// The kind of failure.
    public var code: Code
    /// The file, folder or flag concerned.
    public var subject: String
    /// What is wrong with it, a clause without a full stop; names the key within the file.
    public var problem: String
    /// What was expected, where that says more than the problem.
    public var expected: String?
    /// What was found instead.
    public var got: String?
    /// What the reader can do.
    public var advice: String?

    /// Creates an error about `subject`.
    public init(
        _ code: Code, _ subject: String, _ problem: String, expected: String? = nil,
        got: String? = nil, advice: String? = nil
    ) {
        self.code = code
        self.subject = subject
        self.problem = problem
        self.expected = expected
        self.got = got
        self.advice = advice
    }
}

extension LorikeetError: CustomStringConvertible {
    /// One paragraph: subject, problem, expected, got, advice.
    public var description: String {
        var text = "\(subject): \(problem)"
        if let expected { text += "; expected \(expected)" }
        if let got { text += expected == nil ? "; got \(got)" : ", got \(got)" }
        text += "."
        if let advice { text += " \(advice)" }
        return text
    }
}
