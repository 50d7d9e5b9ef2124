import Foundation

/// BERT's: drops control characters, sets Chinese characters apart, drops accents, lower case.
struct BertNormalizer: Normalizer {
    var cleansText = true
    var separatesChinese = true
    /// Whether accents are dropped.
    var stripsAccents = true
    var lowercases = true

    func normalize(_ text: inout [UInt8]) {
        var output: [UInt8] = []
        output.reserveCapacity(text.count + text.count / 4)
        var position = 0
        while position < text.count {
            let byte = text[position]
            guard byte >= 0x80 else {
                if let byte = normalized(ascii: byte) { output.append(byte) }
                position += 1
                continue
            }
            let start = position
            while position < text.count, text[position] >= 0x80 { position += 1 }
            append(String(decoding: text[start..<position], as: UTF8.self), to: &output)
        }
        text = output
    }

    @inline(__always)
    private func normalized(ascii byte: UInt8) -> UInt8? {
        if lowercases, 0x41...0x5A ~= byte { return byte | 0x20 }
        guard cleansText, byte < 0x20 || byte == 0x7F else { return byte }
        return byte == 0x09 || byte == 0x0A || byte == 0x0D ? 0x20 : nil
    }

    // What is past ASCII; a decomposition never reaches over an ASCII character.
    private func append(_ run: String, to output: inout [UInt8]) {
        var run = run
        if cleansText || separatesChinese {
            var scalars = String.UnicodeScalarView()
            for scalar in run.unicodeScalars {
                if cleansText, scalar.isDroppedByBERT { continue }
                if cleansText, scalar.properties.isWhitespace {
                    scalars.append(" ")
                } else if separatesChinese, scalar.isChinese {
                    scalars.append(contentsOf: [" ", scalar, " "])
                } else {
                    scalars.append(scalar)
                }
            }
            run = String(scalars)
        }
        if stripsAccents {
            let scalars = run.decomposedStringWithCanonicalMapping.unicodeScalars
            run = String(
                String.UnicodeScalarView(
                    scalars.filter {
                        $0.properties.generalCategory != .nonspacingMark || !$0.isOfUnicode8
                    }))
        }
        if lowercases {
            for scalar in run.unicodeScalars { output += scalar.properties.lowercaseMapping.utf8 }
        } else {
            output += run.utf8
        }
    }
}

extension BertNormalizer {
    /// Reads a `BertNormalizer` of tokenizer.json.
    init(_ section: TokenizerSection) throws {
        let lowercases = try section.bool("lowercase", default: true)
        self.init(
            cleansText: try section.bool("clean_text", default: true),
            separatesChinese: try section.bool("handle_chinese_chars", default: true),
            // Null leaves it to the case, as in BERT's own code.
            stripsAccents: try section.bool("strip_accents", default: lowercases),
            lowercases: lowercases)
    }
}

extension Unicode.Scalar {
    /// U+FFFD, and what controls or formats; unassigned ones stay.
    fileprivate var isDroppedByBERT: Bool {
        switch properties.generalCategory {
        case .control, .format, .privateUse, .surrogate: isOfUnicode8
        default: value == 0xFFFD
        }
    }

    /// The blocks that BERT's code calls Chinese, which has words without spaces.
    fileprivate var isChinese: Bool {
        switch value {
        case 0x4E00...0x9FFF, 0x3400...0x4DBF, 0x20000...0x2A6DF, 0x2A700...0x2B73F,
            0x2B740...0x2B81F, 0x2B920...0x2CEAF, 0xF900...0xFAFF, 0x2F800...0x2FA1F:
            true
        default: false
        }
    }
}
