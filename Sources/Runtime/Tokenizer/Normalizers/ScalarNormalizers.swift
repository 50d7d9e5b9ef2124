/// Lower case scalar by scalar, without regard to context: a final sigma stays `σ`.
struct LowercaseNormalizer: Normalizer {
    func normalize(_ text: inout [UInt8]) {
        var output: [UInt8] = []
        output.reserveCapacity(text.count)
        for scalar in String(decoding: text, as: UTF8.self).unicodeScalars {
            output += scalar.properties.lowercaseMapping.utf8
        }
        text = output
    }
}

/// Drops control characters and writes white space and what is invisible as spaces, as for translation.
struct NmtNormalizer: Normalizer {
    func normalize(_ text: inout [UInt8]) {
        var kept = String.UnicodeScalarView()
        for scalar in String(decoding: text, as: UTF8.self).unicodeScalars {
            switch scalar.value {
            case 0x01...0x08, 0x0B, 0x0E...0x1F, 0x7F, 0x8F, 0x9F: continue
            case 0x09, 0x0A, 0x0C, 0x0D, 0x1680, 0x200B...0x200F, 0x2028, 0x2029, 0x2581, 0xFEFF,
                0xFFFD:
                kept.append(" ")
            default: kept.append(scalar)
            }
        }
        text = Array(String(kept).utf8)
    }
}

/// Drops combining marks; accents must have been decomposed before (NFD).
struct StripAccentsNormalizer: Normalizer {
    func normalize(_ text: inout [UInt8]) {
        var kept = String.UnicodeScalarView()
        for scalar in String(decoding: text, as: UTF8.self).unicodeScalars
        where !scalar.isCombiningMark { kept.append(scalar) }
        text = Array(String(kept).utf8)
    }
}

/// Drops white space at the ends.
struct StripNormalizer: Normalizer {
    let left: Bool
    let right: Bool

    func normalize(_ text: inout [UInt8]) {
        var scalars = String(decoding: text, as: UTF8.self).unicodeScalars[...]
        if left { scalars = scalars.drop(while: \.properties.isWhitespace) }
        while right, scalars.last?.properties.isWhitespace == true { scalars.removeLast() }
        text = Array(String(scalars).utf8)
    }
}

/// Puts a prefix before any text that is not empty.
struct PrependNormalizer: Normalizer {
    let prefix: [UInt8]

    func normalize(_ text: inout [UInt8]) {
        if !text.isEmpty { text.insert(contentsOf: prefix, at: 0) }
    }
}

/// Replaces what a pattern matches.
struct ReplaceNormalizer: Normalizer {
    let replacement: PatternReplacement

    func normalize(_ text: inout [UInt8]) { text = replacement.apply(to: text) }
}

extension Unicode.Scalar {
    fileprivate var isCombiningMark: Bool {
        switch properties.generalCategory {
        case .nonspacingMark, .spacingMark, .enclosingMark: true
        default: false
        }
    }
}
