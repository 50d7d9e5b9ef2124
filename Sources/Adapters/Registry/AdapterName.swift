import LorikeetRuntime

/// What an adapter may be called: a request selects it by this name, and logs and metrics show it.
///
/// A name is never made into a path; the rules keep it from looking like one all the same.
public enum AdapterName {
    /// The longest name, in UTF-8 bytes.
    public static let maximumLength = 128

    /// Refuses what is no name.
    ///
    /// - Throws: `.invalidArgument` for an empty or long name, and one with `/`, `\`, `@`, `..` or a control
    ///   character: `@` goes before the digest in `name@digest`.
    public static func check(_ name: String) throws {
        func failure(_ problem: String, _ expected: String) -> LorikeetError {
            LorikeetError(
                .invalidArgument, String(reflecting: String(name.prefix(maximumLength))), problem,
                expected: expected)
        }
        guard !name.isEmpty, name.utf8.count <= maximumLength else {
            throw failure(
                "an adapter's name of \(name.utf8.count) bytes", "1 to \(maximumLength)")
        }
        guard !name.contains(".."),
            !name.unicodeScalars.contains(where: { scalar in
                ["/", "\\", "@"].contains(scalar) || scalar.properties.generalCategory == .control
            })
        else {
            throw failure(
                "not an adapter's name", "none of /, \\, @, .. and control characters in it")
        }
    }
}
