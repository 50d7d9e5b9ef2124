import Foundation

/// An amount of memory as people write it: `2G`, `512M`, `1.5GiB`, `800000000`.
///
/// K, M, G and T are powers of 1000, as in what commands print; Ki, Mi, Gi and Ti powers of 1024. A B may
/// follow, and case does not matter.
public struct ByteSize: Sendable, Equatable {
    /// The bytes.
    public let bytes: Int

    /// An amount of so many bytes.
    public init(bytes: Int) { self.bytes = bytes }

    /// Reads `text`; nil where it is no positive amount, or one beyond 64 bits.
    public init?(_ text: String) {
        let digits = text.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
        guard let number = Double(digits), digits.first != ".", digits.last != ".",
            let unit = Self.unit(text.dropFirst(digits.count).lowercased())
        else { return nil }
        let bytes = (number * unit).rounded(.down)
        guard bytes >= 1, bytes < 0x1p62 else { return nil }
        self.bytes = Int(bytes)
    }

    private static func unit(_ name: String) -> Double? {
        if name.isEmpty || name == "b" { return 1 }
        guard let exponent = "kmgt".firstIndex(of: name[name.startIndex]) else { return nil }
        let power = "kmgt".distance(from: "kmgt".startIndex, to: exponent) + 1
        let base: Double? =
            switch name.dropFirst() {
            case "", "b": 1000
            case "i", "ib": 1024
            default: nil
            }
        return base.map { base in (0..<power).reduce(1) { product, _ in product * base } }
    }
}

extension ByteSize: CustomStringConvertible {
    /// `93.8 MB`: decimal units, as disks and Hugging Face count.
    public var description: String {
        var value = Double(bytes)
        for unit in ["B", "kB", "MB", "GB"] {
            if value < 1000 {
                return unit == "B" ? "\(bytes) B" : String(format: "%.1f %@", value, unit)
            }
            value /= 1000
        }
        return String(format: "%.1f TB", value)
    }
}
