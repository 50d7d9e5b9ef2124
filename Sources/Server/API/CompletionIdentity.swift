import Foundation
import LorikeetRuntime

/// What every object of one response says of itself.
struct CompletionIdentity {
    /// The response's name.
    let id: String
    /// When it was asked for, in seconds since 1970.
    let created = Int(Date().timeIntervalSince1970)
    /// Who answers.
    let model: String
    /// What the answer depends on beside the request: the version, the base and the adapter.
    let fingerprint: String

    /// A new identity.
    ///
    /// - prefix: "chatcmpl" or "cmpl".
    init(prefix: String, model: String, fingerprint: String) {
        id = Self.newID(prefix)
        self.model = model
        self.fingerprint = fingerprint
    }

    /// A name that no other response has.
    static func newID(_ prefix: String) -> String {
        "\(prefix)-\(UUID().uuidString.filter { $0 != "-" }.lowercased())"
    }

    /// An object of the response with these choices.
    func object(_ kind: String, choices: [JSON]) -> JSON {
        [
            "id": .string(id), "object": .string(kind), "created": .int(created),
            "model": .string(model), "system_fingerprint": .string(fingerprint),
            "choices": .array(choices),
        ]
    }
}
