import Foundation
import LorikeetRuntime

/// Keys as text, as openssl writes and reads them (RFC 7468): base64 between two lines that name them.
enum PEM {
    /// `bytes` as one block of `label`.
    static func text(_ label: String, _ bytes: [UInt8]) -> String {
        let base64 = Data(bytes).base64EncodedString(options: [
            .lineLength64Characters, .endLineWithLineFeed,
        ])
        return "-----BEGIN \(label)-----\n\(base64)\n-----END \(label)-----\n"
    }

    /// The contents of every block of `label` in `text`; what stands between blocks is not looked at.
    ///
    /// - Throws: `.malformed` for a block without its end, or that holds something other than base64.
    static func blocks(_ label: String, in text: String, source: String) throws -> [[UInt8]] {
        var blocks: [[UInt8]] = []
        var rest = text[...]
        while let begin = rest.range(of: "-----BEGIN \(label)-----") {
            rest = rest[begin.upperBound...]
            guard let end = rest.range(of: "-----END \(label)-----") else {
                throw LorikeetError(.malformed, source, "a block of \(label) has no end")
            }
            let base64 = rest[..<end.lowerBound].filter { !$0.isWhitespace }
            guard let bytes = Data(base64Encoded: String(base64)) else {
                throw LorikeetError(.malformed, source, "a block of \(label) is not base64")
            }
            blocks.append([UInt8](bytes))
            rest = rest[end.upperBound...]
        }
        return blocks
    }

    /// What follows `prefix` in the one block of `label` in `text`.
    static func key(
        _ label: String, after prefix: [UInt8], count: Int, in text: String, source: String
    ) throws -> [UInt8] {
        let blocks = try blocks(label, in: text, source: source)
        guard blocks.count == 1 else {
            throw LorikeetError(
                .malformed, source, "not one key", expected: "one PEM block \(label)",
                got: "\(blocks.count)")
        }
        return try key(blocks[0], after: prefix, count: count, source: source)
    }

    /// What follows `prefix` in the block `bytes`.
    static func key(
        _ bytes: [UInt8], after prefix: [UInt8], count: Int, source: String
    ) throws -> [UInt8] {
        guard bytes.count == prefix.count + count, bytes.starts(with: prefix) else {
            throw LorikeetError(
                .unsupported, source, "a key of another kind", expected: "Ed25519",
                got: "\(bytes.count) bytes of ASN.1",
                advice:
                    "lorikeet bundle keygen makes keys, as does openssl genpkey -algorithm ed25519."
            )
        }
        return Array(bytes.dropFirst(prefix.count))
    }
}
