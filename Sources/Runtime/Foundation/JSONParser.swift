import Foundation

/// Reads a JSON document from its bytes, a value at a time.
///
/// `value` makes a tree; where a long list is wanted in another form, `object`, `list` and `appendString`
/// read it without one.
struct JSONParser {
    private static let maximumDepth = 512

    private let bytes: UnsafeRawBufferPointer
    private let source: String
    private var position = 0
    private var depth = 0

    init(bytes: UnsafeRawBufferPointer, source: String) {
        self.bytes = bytes
        self.source = source
    }

    /// The whole document, whose one value `body` reads.
    mutating func document(_ body: (inout JSONParser) throws -> JSON) throws -> JSON {
        try requireUTF8()
        if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { position = 3 }
        let value = try body(&self)
        skipSpace()
        guard position == bytes.count else { throw failure("text after the document's end") }
        return value
    }

    // Once for all strings: they are cut at quotes and escapes, never within a scalar. In pieces, since
    // the standard library makes a string of what it checks.
    private func requireUTF8() throws {
        var start = 0
        while start < bytes.count {
            var end = min(start + (1 << 16), bytes.count)
            // A piece must not end within a scalar of up to 4 bytes.
            for _ in 0..<3 where end < bytes.count && bytes[end] & 0xC0 == 0x80 { end -= 1 }
            guard String(validating: bytes[start..<end], as: UTF8.self) != nil else {
                throw LorikeetError(
                    .malformed, source, "not valid JSON: not UTF-8 in bytes \(start) to \(end - 1)")
            }
            start = end
        }
    }

    /// An error at this place of the file.
    func failure(_ problem: String) -> LorikeetError {
        LorikeetError(.malformed, source, "not valid JSON at byte \(position): \(problem)")
    }

    private mutating func skipSpace() {
        while position < bytes.count {
            switch bytes[position] {
            case 0x20, 0x09, 0x0A, 0x0D: position += 1
            default: return
            }
        }
    }

    /// The byte that the next value or mark begins with.
    mutating func peek() throws -> UInt8 {
        skipSpace()
        guard position < bytes.count else { throw failure("unexpected end") }
        return bytes[position]
    }

    private mutating func expect(_ character: Unicode.Scalar) throws {
        guard try peek() == UInt8(ascii: character) else {
            throw failure("expected '\(character)'")
        }
        position += 1
    }

    /// A value of any kind.
    mutating func value() throws -> JSON {
        switch try peek() {
        case UInt8(ascii: "{"): return try object { parser, _ in try parser.value() }
        case UInt8(ascii: "["): return try array()
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        default: return try number()
        }
    }

    private mutating func word(_ word: StaticString, _ value: JSON) throws -> JSON {
        let end = position + word.utf8CodeUnitCount
        guard end <= bytes.count,
            memcmp(bytes.baseAddress! + position, word.utf8Start, word.utf8CodeUnitCount) == 0
        else { throw failure("unknown word") }
        position = end
        return value
    }

    /// An object, the values of whose members `body` reads.
    mutating func object(
        _ body: (inout JSONParser, _ key: String) throws -> JSON
    ) throws -> JSON {
        var members = JSON.Object()
        try list("{", "}") { parser in
            let key = try parser.key { try $0.string() }
            guard members.updateValue(try body(&parser, key), forKey: key) == nil else {
                throw parser.failure("the key \(String(reflecting: key)) is repeated")
            }
        }
        return .object(members)
    }

    private mutating func array() throws -> JSON {
        var elements: [JSON] = []
        try list("[", "]") { elements.append(try $0.value()) }
        return .array(elements)
    }

    /// The elements of an array or the members of an object, each of which `body` reads.
    mutating func list(
        _ opening: Unicode.Scalar, _ closing: Unicode.Scalar,
        _ body: (inout JSONParser) throws -> Void
    ) throws {
        depth += 1
        defer { depth -= 1 }
        guard depth <= Self.maximumDepth else {
            throw failure("nested deeper than \(Self.maximumDepth) levels")
        }
        try expect(opening)
        if try peek() == UInt8(ascii: closing) {
            position += 1
            return
        }
        while true {
            try body(&self)
            guard try peek() == UInt8(ascii: ",") else { return try expect(closing) }
            position += 1
        }
    }

    /// A member's key, whose string `body` reads, and the colon behind it.
    mutating func key<Key>(_ body: (inout JSONParser) throws -> Key) throws -> Key {
        guard try peek() == UInt8(ascii: "\"") else { throw failure("expected a key") }
        let key = try body(&self)
        try expect(":")
        return key
    }

    /// The string whose opening quote is next.
    mutating func string() throws -> String {
        let opening = position
        position += 1
        let run = try plainRun()
        guard bytes[position] == UInt8(ascii: "\"") else {
            position = opening
            var units: [UInt8] = []
            try appendString(to: &units)
            return String(decoding: units, as: UTF8.self)
        }
        position += 1
        return String(decoding: bytes[run], as: UTF8.self)
    }

    /// Appends the UTF-8 of the string whose opening quote is next.
    mutating func appendString(to units: inout [UInt8]) throws {
        position += 1
        while true {
            units += UnsafeRawBufferPointer(rebasing: bytes[try plainRun()])
            position += 1
            if bytes[position - 1] == UInt8(ascii: "\"") { return }
            try appendEscaped(to: &units)
        }
    }

    /// Moves on to the quote or the escape that ends a run of plain characters; returns where those are.
    private mutating func plainRun() throws -> Range<Int> {
        let start = position
        while position < bytes.count {
            switch bytes[position] {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"): return start..<position
            case 0..<0x20: throw failure("a control character in a string")
            default: position += 1
            }
        }
        throw failure("unexpected end in a string")
    }

    /// After a backslash: what it and the next character stand for.
    private mutating func appendEscaped(to units: inout [UInt8]) throws {
        guard position < bytes.count else { throw failure("unexpected end in a string") }
        let escape = bytes[position]
        position += 1
        switch escape {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): units.append(escape)
        case UInt8(ascii: "b"): units.append(0x08)
        case UInt8(ascii: "f"): units.append(0x0C)
        case UInt8(ascii: "n"): units.append(0x0A)
        case UInt8(ascii: "r"): units.append(0x0D)
        case UInt8(ascii: "t"): units.append(0x09)
        case UInt8(ascii: "u"): units += UTF8.encode(try escapedScalar()) ?? .init()
        default: throw failure("an unknown escape")
        }
    }

    /// After `\u`: one scalar, or the replacement character for half a surrogate pair.
    private mutating func escapedScalar() throws -> Unicode.Scalar {
        let first = try hexadecimal()
        var scalar = UInt32(first)
        if (0xD800..<0xDC00).contains(first), position + 1 < bytes.count,
            bytes[position] == UInt8(ascii: "\\"), bytes[position + 1] == UInt8(ascii: "u")
        {
            let mark = position
            position += 2
            let second = try hexadecimal()
            if (0xDC00..<0xE000).contains(second) {
                scalar = 0x10000 + (UInt32(first) - 0xD800) << 10 + (UInt32(second) - 0xDC00)
            } else {
                position = mark
            }
        }
        return Unicode.Scalar(scalar) ?? "\u{FFFD}"
    }

    private mutating func hexadecimal() throws -> UInt16 {
        guard position + 4 <= bytes.count else { throw failure("unexpected end in an escape") }
        var value: UInt16 = 0
        for byte in bytes[position..<position + 4] {
            guard let digit = Character(Unicode.Scalar(byte)).hexDigitValue else {
                throw failure("a \\u escape without four hexadecimal digits")
            }
            value = value << 4 | UInt16(digit)
        }
        position += 4
        return value
    }

    private mutating func number() throws -> JSON {
        let start = position
        var isInteger = true
        if position < bytes.count, bytes[position] == UInt8(ascii: "-") { position += 1 }
        guard let first = digit() else { throw failure("expected a value") }
        if first == 0, digit() != nil { throw failure("a number with a leading zero") }
        while digit() != nil {}
        if position < bytes.count, bytes[position] == UInt8(ascii: ".") {
            isInteger = false
            position += 1
            guard digit() != nil else { throw failure("a number that ends in '.'") }
            while digit() != nil {}
        }
        if position < bytes.count, bytes[position] | 0x20 == UInt8(ascii: "e") {
            isInteger = false
            position += 1
            if position < bytes.count,
                [UInt8(ascii: "+"), UInt8(ascii: "-")].contains(bytes[position])
            {
                position += 1
            }
            guard digit() != nil else { throw failure("a number without exponent digits") }
            while digit() != nil {}
        }
        if isInteger, let value = integer(start..<position) { return .int(value) }
        let text = String(decoding: bytes[start..<position], as: UTF8.self)
        guard let value = Double(text), value.isFinite else {
            throw failure("a number out of range")
        }
        return .double(value)
    }

    /// The integer that is written there; nil if 64 bits do not hold it.
    private func integer(_ range: Range<Int>) -> Int? {
        let isNegative = bytes[range.lowerBound] == UInt8(ascii: "-")
        var value = 0
        for byte in bytes[range].dropFirst(isNegative ? 1 : 0) {
            let digit = Int(byte) - 0x30
            let (tens, overflow) = value.multipliedReportingOverflow(by: 10)
            let (sum, carry) = tens.addingReportingOverflow(isNegative ? -digit : digit)
            guard !overflow, !carry else { return nil }
            value = sum
        }
        return value
    }

    private mutating func digit() -> UInt8? {
        guard position < bytes.count, (0x30...0x39).contains(bytes[position]) else { return nil }
        position += 1
        return bytes[position - 1] - 0x30
    }
}
