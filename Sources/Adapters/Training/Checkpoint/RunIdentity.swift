import LorikeetRuntime

/// What a checkpoint belongs to: everything that the result of a run follows from, by the flag that says it.
public struct RunIdentity: Sendable {
    /// Values, or digests of what lies in files.
    private(set) var values: [(flag: String, value: String)]

    /// An identity of values by flag, in the order in which they are compared.
    public init(_ values: KeyValuePairs<String, String>) {
        self.values = values.map { ($0.key, $0.value) }
    }

    /// The identity that `json` says; nil where a value is no string.
    init?(_ json: JSON) {
        guard let members = json.object else { return nil }
        var values: [(flag: String, value: String)] = []
        for (flag, value) in members {
            guard let value = value.string else { return nil }
            values.append((flag, value))
        }
        self.values = values
    }

    /// The values as an object.
    var json: JSON {
        var object = JSON.Object()
        for (flag, value) in values { object[flag] = .string(value) }
        return .object(object)
    }

    /// The identity with further values.
    func adding(_ more: KeyValuePairs<String, String>) -> RunIdentity {
        var identity = self
        identity.values += more.map { ($0.key, $0.value) }
        return identity
    }

    /// The identity but for `flags`.
    func without(_ flags: Set<String>) -> RunIdentity {
        var identity = self
        identity.values.removeAll { flags.contains($0.flag) }
        return identity
    }

    private subscript(flag: String) -> String? { values.first { $0.flag == flag }?.value }

    /// - Throws: `.mismatch` naming the first flag in which the checkpoint at `place`, of a run that was
    ///   `other`, differs from this one.
    func require(_ other: RunIdentity, at place: String) throws {
        for (flag, _) in values + other.values where self[flag] != other[flag] {
            throw LorikeetError(
                .mismatch, place, "it belongs to a run with another \(flag)",
                expected: self[flag] ?? "none", got: other[flag] ?? "none",
                advice:
                    "Give the flags that the run was begun with, or begin anew: --force without "
                    + "--resume.")
        }
    }
}
