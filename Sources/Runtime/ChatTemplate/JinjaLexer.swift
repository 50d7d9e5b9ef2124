/// Splits a template into text and the tokens inside its tags, with jinja2's whitespace rules as
/// transformers sets them: trim_blocks, lstrip_blocks, and one newline at the end dropped.
struct JinjaLexer {
    enum Token: Equatable {
        case text(String)
        case outputBegin
        case outputEnd
        case blockBegin
        case blockEnd
        case name(String)
        case string(String)
        case int(Int)
        case float(Double)
        case symbol(String)
        case end
    }

    private let bytes: [UInt8]
    private var position = 0
    private var line = 1
    /// Whether the text before `position` ends in a newline, or nothing is before it.
    private var isLineStart = true
    private var tokens: [(token: Token, line: Int)] = []

    /// The tokens of `source`, ended by `.end`.
    static func tokens(of source: String) throws -> [(token: Token, line: Int)] {
        var lexer = JinjaLexer(source)
        try lexer.run()
        lexer.tokens.append((.end, lexer.line))
        return lexer.tokens
    }

    private init(_ source: String) {
        var bytes = Array(PythonText.normalizingNewlines(source).utf8)
        if bytes.last == 0x0A { bytes.removeLast() }
        self.bytes = bytes
    }

    private mutating func run() throws {
        while position < bytes.count {
            guard let tag = nextTag(from: position) else {
                append(text: bytes[position...])
                position = bytes.count
                return
            }
            let kind = bytes[tag + 1]
            let raw = kind == UInt8(ascii: "%") ? rawBegin(at: tag) : nil
            var next = tag + 2
            let sign = next < bytes.count ? bytes[next] : 0
            let isSigned = sign == UInt8(ascii: "-") || sign == UInt8(ascii: "+")
            if isSigned { next += 1 }
            append(text: textBefore(tag, sign: sign, isOutput: kind == UInt8(ascii: "{")))
            move(to: next)
            if let raw {
                move(to: raw)
                try rawText()
            } else if kind == UInt8(ascii: "#") {
                try comment()
            } else {
                try tokensOfTag(isOutput: kind == UInt8(ascii: "{"))
            }
        }
    }

    // MARK: Text

    private func nextTag(from start: Int) -> Int? {
        var index = start
        while index + 1 < bytes.count {
            if bytes[index] == UInt8(ascii: "{"), "{%#".utf8.contains(bytes[index + 1]) {
                return index
            }
            index += 1
        }
        return nil
    }

    /// The text up to the tag at `tag`: "-" strips it; a block or comment alone on its line loses
    /// its indentation unless "+" keeps it.
    private func textBefore(_ tag: Int, sign: UInt8, isOutput: Bool) -> ArraySlice<UInt8> {
        let text = bytes[position..<tag]
        if sign == UInt8(ascii: "-") { return PythonText.strippedRight(text) }
        guard sign != UInt8(ascii: "+"), !isOutput else { return text }
        let newline = text.lastIndex(of: 0x0A)
        guard newline != nil || isLineStart else { return text }
        let lineStart = newline.map { $0 + 1 } ?? text.startIndex
        return PythonText.stripped(text[lineStart...]).isEmpty ? text[..<lineStart] : text
    }

    private mutating func append(text: ArraySlice<UInt8>) {
        guard !text.isEmpty else { return }
        tokens.append((.text(String(decoding: text, as: UTF8.self)), line))
    }

    private mutating func move(to end: Int) {
        guard end > position else { return }
        line += bytes[position..<end].count { $0 == 0x0A }
        isLineStart = bytes[end - 1] == 0x0A
        position = end
    }

    private func afterSpace(_ start: Int) -> Int {
        start + PythonText.leadingSpace(bytes[start...])
    }

    private func has(_ text: StaticString, at start: Int) -> Bool {
        start + text.utf8CodeUnitCount <= bytes.count
            && (0..<text.utf8CodeUnitCount).allSatisfy { bytes[start + $0] == text.utf8Start[$0] }
    }

    /// The end of a tag at `start`, past the space that its closing mark swallows, or nil.
    private func tagEnd(_ mark: StaticString, at start: Int, trimming: Bool) -> Int? {
        if has("-", at: start), has(mark, at: start + 1) { return afterSpace(start + 3) }
        if trimming, has("+", at: start), has(mark, at: start + 1) { return start + 3 }
        guard has(mark, at: start) else { return nil }
        return trimming && has("\n", at: start + 2) ? start + 3 : start + 2
    }

    private mutating func comment() throws {
        var index = position
        while index < bytes.count {
            if let end = tagEnd("#}", at: index, trimming: true) { return move(to: end) }
            index += 1
        }
        throw JinjaFailure("a comment without its end", line: line)
    }

    // MARK: Raw blocks

    /// Where the content of the raw block at `tag` begins, or nil when the tag is another one.
    private func rawBegin(at tag: Int) -> Int? {
        var index = tag + 2
        if has("-", at: index) || has("+", at: index) { index += 1 }
        index = afterSpace(index)
        guard has("raw", at: index) else { return nil }
        return tagEnd("%}", at: afterSpace(index + 3), trimming: false)
    }

    private mutating func rawText() throws {
        var index = position
        while let tag = nextTag(from: index) {
            index = tag + 1
            guard bytes[tag + 1] == UInt8(ascii: "%") else { continue }
            var word = tag + 2
            let sign = word < bytes.count ? bytes[word] : 0
            if sign == UInt8(ascii: "-") || sign == UInt8(ascii: "+") { word += 1 }
            word = afterSpace(word)
            guard has("endraw", at: word),
                let end = tagEnd("%}", at: afterSpace(word + 6), trimming: true)
            else { continue }
            append(text: textBefore(tag, sign: sign, isOutput: false))
            return move(to: end)
        }
        throw JinjaFailure("a raw block without its end", line: line)
    }

    // MARK: Tags

    private mutating func tokensOfTag(isOutput: Bool) throws {
        tokens.append((isOutput ? .outputBegin : .blockBegin, line))
        var open: [UInt8] = []
        while true {
            move(to: afterSpace(position))
            guard position < bytes.count else {
                throw JinjaFailure("a tag without its end", line: line)
            }
            // "}}" may also close two dictionaries
            if open.isEmpty,
                let end = isOutput
                    ? tagEnd("}}", at: position, trimming: false)
                    : tagEnd("%}", at: position, trimming: true)
            {
                tokens.append((isOutput ? .outputEnd : .blockEnd, line))
                return move(to: end)
            }
            let start = line
            let token = try token()
            if case .symbol(let symbol) = token { try balance(symbol, &open) }
            tokens.append((token, start))
        }
    }

    private func balance(_ symbol: String, _ open: inout [UInt8]) throws {
        switch symbol {
        case "(": open.append(UInt8(ascii: ")"))
        case "[": open.append(UInt8(ascii: "]"))
        case "{": open.append(UInt8(ascii: "}"))
        case ")", "]", "}":
            guard let expected = open.popLast(), expected == symbol.utf8.first else {
                throw JinjaFailure("unexpected '\(symbol)'", line: line)
            }
        default: break
        }
    }

    private mutating func token() throws -> Token {
        let first = bytes[position]
        switch first {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): return try number()
        case UInt8(ascii: "'"), UInt8(ascii: "\""): return .string(try string(quote: first))
        case UInt8(ascii: "_"), 0x80..., UInt8(ascii: "a")...UInt8(ascii: "z"),
            UInt8(ascii: "A")...UInt8(ascii: "Z"):
            return .name(take { $0 == UInt8(ascii: "_") || $0 >= 0x80 || Self.isAlphanumeric($0) })
        default: break
        }
        for symbol in ["//", "**", "==", "!=", "<=", ">="] as [StaticString]
        where has(symbol, at: position) {
            move(to: position + 2)
            return .symbol(symbol.description)
        }
        guard "+-/*%~[](){}><=.:|,;".utf8.contains(first) else {
            throw JinjaFailure(
                "unexpected character '\(Character(Unicode.Scalar(first)))'", line: line)
        }
        move(to: position + 1)
        return .symbol(String(Character(Unicode.Scalar(first))))
    }

    private static func isAlphanumeric(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
            || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
    }

    private mutating func take(while matches: (UInt8) -> Bool) -> String {
        let end = bytes[position...].firstIndex { !matches($0) } ?? bytes.count
        defer { move(to: end) }
        return String(decoding: bytes[position..<end], as: UTF8.self)
    }

    private mutating func number() throws -> Token {
        let start = line
        let isDigit = { (byte: UInt8) in
            (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || byte == UInt8(ascii: "_")
        }
        let radixes: [(StaticString, Int)] = [("0x", 16), ("0o", 8), ("0b", 2)]
        for (prefix, radix) in radixes where has(prefix, at: position) {
            move(to: position + 2)
            let digits = take { Self.isAlphanumeric($0) || $0 == UInt8(ascii: "_") }
            guard let value = Int(digits.filter { $0 != "_" }, radix: radix) else {
                throw JinjaFailure("'\(prefix)\(digits)' is no integer of 64 bits", line: start)
            }
            return .int(value)
        }
        var text = take(while: isDigit)
        var isFloat = false
        let isAfterDot = tokens.last.map { $0.token == .symbol(".") } ?? false
        let digitFollows = { (bytes: [UInt8], index: Int) in
            index < bytes.count && (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(bytes[index])
        }
        if !isAfterDot, has(".", at: position), digitFollows(bytes, position + 1) {
            move(to: position + 1)
            text += "." + take(while: isDigit)
            isFloat = true
        }
        if !isAfterDot, has("e", at: position) || has("E", at: position) {
            let sign = has("+", at: position + 1) || has("-", at: position + 1) ? 1 : 0
            if digitFollows(bytes, position + 1 + sign) {
                text += String(decoding: bytes[position...position + sign], as: UTF8.self)
                move(to: position + 1 + sign)
                text += take(while: isDigit)
                isFloat = true
            }
        }
        text.removeAll { $0 == "_" }
        if isFloat, let value = Double(text) { return .float(value) }
        guard let value = Int(text) else {
            throw JinjaFailure("'\(text)' is no integer of 64 bits", line: start)
        }
        return .int(value)
    }

    // MARK: Strings

    private mutating func string(quote: UInt8) throws -> String {
        let start = line
        var index = position + 1
        var content: [UInt8] = []
        while index < bytes.count {
            let byte = bytes[index]
            index += 1
            if byte == quote {
                move(to: index)
                return String(decoding: content, as: UTF8.self)
            }
            guard byte == UInt8(ascii: "\\"), index < bytes.count else {
                content.append(byte)
                continue
            }
            index = try escape(at: index, into: &content)
        }
        throw JinjaFailure("a string without its closing quote", line: start)
    }

    /// Python's escapes; an unknown one stands as written.
    private func escape(at index: Int, into content: inout [UInt8]) throws -> Int {
        let letter = bytes[index]
        let simple: [UInt8: UInt8] = [
            UInt8(ascii: "n"): 0x0A, UInt8(ascii: "t"): 0x09, UInt8(ascii: "r"): 0x0D,
            UInt8(ascii: "\\"): 0x5C, UInt8(ascii: "'"): 0x27, UInt8(ascii: "\""): 0x22,
            UInt8(ascii: "a"): 0x07, UInt8(ascii: "b"): 0x08, UInt8(ascii: "f"): 0x0C,
            UInt8(ascii: "v"): 0x0B,
        ]
        if let byte = simple[letter] {
            content.append(byte)
            return index + 1
        }
        switch letter {
        case 0x0A: return index + 1
        case UInt8(ascii: "x"):
            return try scalar(at: index + 1, count: 2, radix: 16, into: &content)
        case UInt8(ascii: "u"):
            return try scalar(at: index + 1, count: 4, radix: 16, into: &content)
        case UInt8(ascii: "U"):
            return try scalar(at: index + 1, count: 8, radix: 16, into: &content)
        case UInt8(ascii: "0")...UInt8(ascii: "7"):
            let digits = bytes[index..<min(index + 3, bytes.count)].prefix {
                (UInt8(ascii: "0")...UInt8(ascii: "7")).contains($0)
            }
            return try scalar(at: index, count: digits.count, radix: 8, into: &content)
        default:
            content += [UInt8(ascii: "\\"), letter]
            return index + 1
        }
    }

    private func scalar(
        at start: Int, count: Int, radix: Int, into content: inout [UInt8]
    ) throws
        -> Int
    {
        let digits = bytes[start..<min(start + count, bytes.count)]
        guard digits.count == count, digits.allSatisfy(Self.isAlphanumeric),
            let value = UInt32(String(decoding: digits, as: UTF8.self), radix: radix),
            let scalar = Unicode.Scalar(value)
        else { throw JinjaFailure("a string escape that names no character", line: line) }
        content += String(scalar).utf8
        return start + count
    }
}
