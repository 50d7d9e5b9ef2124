import LorikeetRuntime

/// How a request says which adapter it means: by name, or by name and the beginning of a digest.
///
/// `pirate` is the version that has the name now; `pirate@3f2a9c01` the one of that digest, whatever the
/// name means by then.
public struct AdapterReference: Sendable, Hashable {
    /// The fewest digits of a digest that tell a version.
    public static let shortestPin = 8

    /// The adapter's name.
    public var name: String
    /// The first digits of its digest, at least eight; nil for the current version.
    public var pin: String?

    /// The current version of `name`.
    public init(name: String) { self.name = name }

    /// The version of `name` whose digest begins with `pin`.
    init(name: String, pin: String) {
        self.name = name
        self.pin = pin
    }

    /// Reads `name` or `name@digest`.
    ///
    /// - Throws: `.invalidArgument` for a name that is none, or a digest of less than eight digits.
    public init(_ text: String) throws {
        let parts = text.split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false)
        name = String(parts[0])
        try AdapterName.check(name)
        guard parts.count > 1 else { return }
        let digits = parts[1].lowercased()
        guard (Self.shortestPin...64).contains(digits.utf8.count),
            digits.utf8.allSatisfy({ Digest.isHexadecimal($0) })
        else {
            throw LorikeetError(
                .invalidArgument, String(reflecting: String(text.prefix(256))),
                "what follows @ is not the beginning of a digest",
                expected: "\(Self.shortestPin) to 64 hexadecimal digits")
        }
        pin = digits
    }
}

/// One adapter of a blend, and how much of it.
public struct BlendPart: Sendable, Hashable {
    /// The adapter.
    public var adapter: AdapterReference
    /// What its term is multiplied by, beside its own scale.
    public var scale: Float

    /// So much of `adapter`.
    public init(_ adapter: AdapterReference, scale: Float) {
        self.adapter = adapter
        self.scale = scale
    }
}
