/// Python's `str`, a sequence of code points, over Swift's strings.
///
/// Swift's own operations work on grapheme clusters under canonical equivalence, so "e\u{301}" is
/// one character and equals "é"; Python sees two code points and a difference. Searching UTF-8 bytes
/// finds exactly what searching code points finds.
enum PythonText {
    /// `str.isspace` of one code point.
    static func isSpace(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0x09...0x0D, 0x1C...0x20, 0x85, 0xA0, 0x1680, 0x2000...0x200A, 0x2028, 0x2029, 0x202F,
            0x205F, 0x3000:
            true
        default: false
        }
    }

    /// The number of code points.
    static func count(_ text: String) -> Int { text.unicodeScalars.count }

    /// `==` without canonical equivalence.
    static func areEqual(_ left: String, _ right: String) -> Bool {
        left.utf8.count == right.utf8.count && left.utf8.elementsEqual(right.utf8)
    }

    /// `<`: UTF-8 keeps the order of code points.
    static func isLess(_ left: String, _ right: String) -> Bool {
        left.utf8.lexicographicallyPrecedes(right.utf8)
    }

    /// The text with every "\r\n" and "\r" made "\n".
    static func normalizingNewlines(_ text: String) -> String {
        guard text.utf8.contains(0x0D) else { return text }
        var bytes: [UInt8] = []
        var wasReturn = false
        for byte in text.utf8 {
            if byte == 0x0D {
                bytes.append(0x0A)
            } else if byte != 0x0A || !wasReturn {
                bytes.append(byte)
            }
            wasReturn = byte == 0x0D
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    // MARK: Stripping

    /// `strip`, `lstrip` or `rstrip`: spaces, or the code points of `characters`.
    static func strip(
        _ text: String, _ characters: String? = nil, left: Bool, right: Bool
    ) -> String {
        let set = characters.map { Set($0.unicodeScalars) }
        let matches = { (scalar: Unicode.Scalar) in set?.contains(scalar) ?? isSpace(scalar) }
        var rest = text.unicodeScalars[...]
        if left { rest = rest.drop(while: matches) }
        while right, let last = rest.last, matches(last) { rest.removeLast() }
        return String(rest)
    }

    /// The bytes of space that `bytes` begins with.
    static func leadingSpace(_ bytes: ArraySlice<UInt8>) -> Int {
        var count = 0
        var rest = bytes
        while let length = spaceLength(rest) {
            count += length
            rest = rest.dropFirst(length)
        }
        return count
    }

    /// `bytes` without space at its end.
    static func strippedRight(_ bytes: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        var rest = bytes
        while true {
            // a character's first byte is the last one that is no continuation
            guard let start = rest.lastIndex(where: { $0 & 0xC0 != 0x80 }),
                spaceLength(rest[start...]) == rest.endIndex - start
            else { return rest }
            rest = rest[..<start]
        }
    }

    /// `bytes` without space at either end.
    static func stripped(_ bytes: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        strippedRight(bytes.dropFirst(leadingSpace(bytes)))
    }

    private static func spaceLength(_ bytes: ArraySlice<UInt8>) -> Int? {
        guard let first = bytes.first else { return nil }
        if first < 0x80 { return isSpace(Unicode.Scalar(first)) ? 1 : nil }
        let length = first >= 0xE0 ? 3 : 2
        guard
            let scalar = String(decoding: bytes.prefix(length), as: UTF8.self).unicodeScalars.first,
            isSpace(scalar)
        else { return nil }
        return length
    }

    // MARK: Searching

    /// Where `part` first begins in `bytes`.
    static func find(_ part: [UInt8], in bytes: [UInt8]) -> Int? {
        part.isEmpty ? 0 : occurrences(of: part, in: bytes, limit: 1).first
    }

    /// `part in text`.
    static func contains(_ text: String, _ part: String) -> Bool {
        find(Array(part.utf8), in: Array(text.utf8)) != nil
    }

    /// Where `part` begins, without overlaps, by Knuth, Morris and Pratt: a hostile text and part
    /// would make the plain search quadratic.
    static func occurrences(of part: [UInt8], in bytes: [UInt8], limit: Int) -> [Int] {
        guard !part.isEmpty, part.count <= bytes.count, limit > 0 else { return [] }
        // border[i]: length of the longest proper prefix of part that is a suffix of part[...i]
        var border = [Int](repeating: 0, count: part.count)
        var matched = 0
        for index in part.indices.dropFirst() {
            while matched > 0, part[index] != part[matched] { matched = border[matched - 1] }
            if part[index] == part[matched] { matched += 1 }
            border[index] = matched
        }
        var found: [Int] = []
        matched = 0
        for (index, byte) in bytes.enumerated() {
            while matched > 0, byte != part[matched] { matched = border[matched - 1] }
            if byte == part[matched] { matched += 1 }
            guard matched == part.count else { continue }
            found.append(index + 1 - part.count)
            if found.count == limit { break }
            matched = 0
        }
        return found
    }

    /// The code point index of a byte offset.
    static func scalarIndex(_ bytes: [UInt8], _ offset: Int) -> Int {
        bytes[..<offset].count { $0 & 0xC0 != 0x80 }
    }

    /// `text.replace(old, new, limit)`; negative is no limit.
    static func replacing(_ text: String, _ old: String, _ new: String, limit: Int) -> String {
        let limit = limit < 0 ? Int.max : limit
        guard !old.isEmpty else { return interleaving(text, new, limit: limit) }
        let bytes = Array(text.utf8)
        let old = Array(old.utf8)
        var output: [UInt8] = []
        var start = 0
        for next in occurrences(of: old, in: bytes, limit: limit) {
            output += bytes[start..<next]
            output += new.utf8
            start = next + old.count
        }
        output += bytes[start...]
        return String(decoding: output, as: UTF8.self)
    }

    private static func interleaving(_ text: String, _ new: String, limit: Int) -> String {
        var output = String.UnicodeScalarView()
        var left = limit
        for scalar in text.unicodeScalars {
            if left > 0 { output.append(contentsOf: new.unicodeScalars) }
            left -= left > 0 ? 1 : 0
            output.append(scalar)
        }
        if left > 0 { output.append(contentsOf: new.unicodeScalars) }
        return String(output)
    }

    // MARK: Splitting

    /// `split` or `rsplit` at `separator`; negative is no limit.
    static func split(_ text: String, at separator: String, limit: Int, fromRight: Bool) -> [String]
    {
        let limit = limit < 0 ? Int.max : limit
        let bytes = Array(text.utf8)
        let separator = Array(separator.utf8)
        var cuts: [Int]
        if fromRight {
            // non-overlapping occurrences counted from the right: search the reversed bytes
            cuts = occurrences(of: separator.reversed(), in: bytes.reversed(), limit: limit)
                .map { bytes.count - $0 - separator.count }.reversed()
        } else {
            cuts = occurrences(of: separator, in: bytes, limit: limit)
        }
        var parts: [String] = []
        var start = 0
        for cut in cuts {
            parts.append(String(decoding: bytes[start..<cut], as: UTF8.self))
            start = cut + separator.count
        }
        return parts + [String(decoding: bytes[start...], as: UTF8.self)]
    }

    /// `split()` or `rsplit()` at runs of space.
    static func splitAtSpace(_ text: String, limit: Int, fromRight: Bool) -> [String] {
        let limit = limit < 0 ? Int.max : limit
        if fromRight {
            let reversed = String(String.UnicodeScalarView(text.unicodeScalars.reversed()))
            return splitAtSpace(reversed, limit: limit, fromRight: false).reversed()
                .map { String(String.UnicodeScalarView($0.unicodeScalars.reversed())) }
        }
        var parts: [String] = []
        var rest = text.unicodeScalars[...].drop(while: isSpace)
        while !rest.isEmpty {
            guard parts.count < limit else {
                parts.append(String(rest))
                break
            }
            let part = rest.prefix { !isSpace($0) }
            parts.append(String(part))
            rest = rest[part.endIndex...].drop(while: isSpace)
        }
        return parts
    }

    /// `splitlines()`.
    static func lines(_ text: String, keepingEnds: Bool = false) -> [String] {
        var lines: [String] = []
        var line = String.UnicodeScalarView()
        var iterator = text.unicodeScalars.makeIterator()
        var next = iterator.next()
        while let scalar = next {
            next = iterator.next()
            switch scalar.value {
            case 0x0A...0x0D, 0x1C...0x1E, 0x85, 0x2028, 0x2029:
                if keepingEnds { line.append(scalar) }
                if scalar == "\r", next == "\n" {
                    if keepingEnds { line.append("\n") }
                    next = iterator.next()
                }
                lines.append(String(line))
                line = String.UnicodeScalarView()
            default: line.append(scalar)
            }
        }
        if !line.isEmpty { lines.append(String(line)) }
        return lines
    }

    // MARK: Case

    /// `capitalize()`.
    static func capitalized(_ text: String) -> String {
        guard let first = text.unicodeScalars.first else { return text }
        return first.properties.titlecaseMapping
            + String(text.unicodeScalars.dropFirst()).lowercased()
    }

    /// `title()`: a letter after anything that has no case begins a word.
    static func title(_ text: String) -> String {
        var output = ""
        var isInWord = false
        for scalar in text.unicodeScalars {
            let properties = scalar.properties
            output += isInWord ? properties.lowercaseMapping : properties.titlecaseMapping
            isInWord = properties.isCased
        }
        return output
    }
}
