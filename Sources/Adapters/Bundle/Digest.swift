import Crypto
package import LorikeetRuntime

/// SHA-256, as 64 hexadecimal digits.
package enum Digest {
    /// The digest of `bytes`.
    static func sha256(_ bytes: UnsafeRawBufferPointer) -> String {
        var hash = SHA256()
        hash.update(bufferPointer: bytes)
        return hash.finalize().hexadecimal
    }

    /// The digest of a whole file, a megabyte in memory at a time.
    package static func sha256(of file: MappedFile) -> String {
        var hash = SHA256()
        for start in stride(from: 0, to: file.bytes.count, by: 1 << 20) {
            let end = min(start + (1 << 20), file.bytes.count)
            let part = UnsafeRawBufferPointer(rebasing: file.bytes[start..<end])
            hash.update(bufferPointer: part)
            file.releasePages(of: part)
        }
        return hash.finalize().hexadecimal
    }

    /// The digest of an array.
    package static func sha256(_ bytes: [UInt8]) -> String {
        bytes.withUnsafeBytes { sha256($0) }
    }

    /// Whether `text` has a digest's form.
    static func isValid(_ text: String) -> Bool {
        text.utf8.count == 64 && text.utf8.allSatisfy(isHexadecimal)
    }

    /// Whether `character` is a digit of a digest.
    static func isHexadecimal(_ character: UInt8) -> Bool {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(character)
            || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains(character)
    }
}

extension SHA256.Digest {
    /// Lower-case hexadecimal digits.
    var hexadecimal: String {
        let digits = Array("0123456789abcdef".utf8)
        return String(
            decoding: flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
    }
}
