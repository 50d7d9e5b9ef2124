import Foundation

/// A Unicode normalization form (UAX 15).
struct UnicodeNormalizer: Normalizer {
    enum Form: Sendable { case nfc, nfd, nfkc, nfkd }

    let form: Form

    func normalize(_ text: inout [UInt8]) {
        // Every form leaves ASCII as it is.
        guard text.contains(where: { $0 >= 0x80 }) else { return }
        let string = String(decoding: text, as: UTF8.self)
        let normalized =
            switch form {
            case .nfc: string.precomposedStringWithCanonicalMapping
            case .nfd: string.decomposedStringWithCanonicalMapping
            case .nfkc: string.precomposedStringWithCompatibilityMapping
            case .nfkd: string.decomposedStringWithCompatibilityMapping
            }
        text = Array(normalized.utf8)
    }
}
