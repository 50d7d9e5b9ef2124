/// A set of Unicode scalars as a pattern's character class writes it: `[^\r\n\p{L}]`, `\s`, `.`, `a`.
struct ScalarSet: Sendable {
    /// One part of a class; the class is their union.
    enum Part: Sendable {
        case range(ClosedRange<UInt32>)
        /// Bit `i` stands for the i-th general category.
        case categories(UInt32)
        /// The same, of the scalars that Unicode 8 has.
        case categoriesOfUnicode8(UInt32)
        case whitespace(Bool)
        case word(Bool)
    }

    let parts: [Part]
    let isNegated: Bool
    let ignoresCase: Bool
    /// Membership of the scalars below 128: most text never asks further.
    private(set) var ascii: (low: UInt64, high: UInt64) = (0, 0)

    init(_ parts: [Part], negated: Bool = false, ignoresCase: Bool = false) {
        self.parts = parts
        self.isNegated = negated
        self.ignoresCase = ignoresCase
        for value in UInt32(0)..<64 {
            if computeContains(value) { ascii.low |= 1 << UInt64(value) }
            if computeContains(value + 64) { ascii.high |= 1 << UInt64(value) }
        }
    }

    @inline(__always)
    func contains(_ value: UInt32) -> Bool {
        if value < 64 { return ascii.low >> UInt64(value) & 1 == 1 }
        if value < 128 { return ascii.high >> UInt64(value &- 64) & 1 == 1 }
        return computeContains(value)
    }

    private func computeContains(_ value: UInt32) -> Bool {
        guard let scalar = Unicode.Scalar(value) else { return false }
        var isMember = unionContains(scalar)
        if ignoresCase, !isMember {
            isMember = scalar.caseVariants.contains(where: unionContains)
        }
        return isMember != isNegated
    }

    private func unionContains(_ scalar: Unicode.Scalar) -> Bool {
        for part in parts {
            switch part {
            case .range(let range): if range.contains(scalar.value) { return true }
            case .categories(let mask):
                if mask & scalar.properties.generalCategory.bit != 0 { return true }
            case .categoriesOfUnicode8(let mask):
                if mask & scalar.properties.generalCategory.bit != 0, scalar.isOfUnicode8 {
                    return true
                }
            case .whitespace(let expected):
                if scalar.properties.isWhitespace == expected { return true }
            case .word(let expected):
                if (scalar.isWord || scalar.isLatin1Number) == expected { return true }
            }
        }
        return false
    }
}

extension Unicode.Scalar {
    /// The scalars that a case-insensitive pattern takes for this one: `s`, `S` and `ſ` for each other.
    fileprivate var caseVariants: [Unicode.Scalar] {
        func single(_ text: String) -> Unicode.Scalar? {
            text.unicodeScalars.count == 1 ? text.unicodeScalars.first : nil
        }
        // The dotless i has a capital in common with i but is no variant of it outside Turkish.
        if value == 0x131 { return [] }
        let upper = single(properties.uppercaseMapping) ?? self
        let folded = single(upper.properties.lowercaseMapping) ?? self
        // U+017F and U+212A are the two that fold to ASCII letters.
        let long: [Unicode.Scalar] = folded == "s" ? ["\u{17F}"] : folded == "k" ? ["\u{212A}"] : []
        return [upper, folded] + long
    }

    /// `² ³ ¹ ¼ ½ ¾`, word characters to Oniguruma alone, whose table for Latin-1 is older than UTS 18.
    fileprivate var isLatin1Number: Bool {
        [0xB2, 0xB3, 0xB9, 0xBC, 0xBD, 0xBE].contains(value)
    }

    /// Whether Unicode 8 has it: the version whose marks, punctuation and controls the `tokenizers` package
    /// knows (of its `unicode_categories`).
    var isOfUnicode8: Bool { properties.age.map { $0.major <= 8 } ?? false }

    /// Whether it is a word character (UTS 18, annex C) other than the join controls.
    var isWord: Bool {
        properties.isAlphabetic
            || properties.generalCategory.bit & Unicode.GeneralCategory.wordMask != 0
    }
}

extension Unicode.GeneralCategory {
    /// A bit of its own for each category, the currency of `ScalarSet.Part.categories`.
    var bit: UInt32 { 1 << Unicode.GeneralCategory.order(self) }

    /// Nd, Nl and No.
    static let numberMask: UInt32 = 0b111 << 8
    /// Pc, Pd, Ps, Pe, Pi, Pf and Po.
    static let punctuationMask: UInt32 = 0b111_1111 << 11
    /// Every category.
    static let allMask: UInt32 = (1 << 30) - 1
    /// Mn, Mc, Me, Nd and Pc: the word characters besides the alphabetic ones.
    fileprivate static let wordMask: UInt32 = 0b111 << 5 | 1 << 8 | 1 << 11

    /// The categories that `\p{name}` stands for: a general category's short name or its first letter.
    static func mask(of name: String) -> UInt32? {
        let bits = names.indices.filter {
            names[$0] == name || names[$0].first.map(String.init) == name
        }
        return bits.isEmpty ? nil : bits.reduce(0) { $0 | 1 << UInt32($1) }
    }

    private static let names = [
        "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Pc", "Pd", "Ps", "Pe",
        "Pi",
        "Pf", "Po", "Sm", "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Co", "Cn",
    ]

    private static func order(_ category: Unicode.GeneralCategory) -> UInt32 {
        switch category {
        case .uppercaseLetter: 0
        case .lowercaseLetter: 1
        case .titlecaseLetter: 2
        case .modifierLetter: 3
        case .otherLetter: 4
        case .nonspacingMark: 5
        case .spacingMark: 6
        case .enclosingMark: 7
        case .decimalNumber: 8
        case .letterNumber: 9
        case .otherNumber: 10
        case .connectorPunctuation: 11
        case .dashPunctuation: 12
        case .openPunctuation: 13
        case .closePunctuation: 14
        case .initialPunctuation: 15
        case .finalPunctuation: 16
        case .otherPunctuation: 17
        case .mathSymbol: 18
        case .currencySymbol: 19
        case .modifierSymbol: 20
        case .otherSymbol: 21
        case .spaceSeparator: 22
        case .lineSeparator: 23
        case .paragraphSeparator: 24
        case .control: 25
        case .format: 26
        case .surrogate: 27
        case .privateUse: 28
        case .unassigned: 29
        @unknown default: 29
        }
    }
}
