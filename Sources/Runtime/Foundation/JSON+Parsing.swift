import Foundation

extension JSON {
    /// Parses one JSON document (RFC 8259), refusing repeated keys and nesting past 512 levels.
    ///
    /// The error names `source`, the file's path.
    ///
    /// - Throws: `.malformed` with the byte offset.
    public init(parsing bytes: UnsafeRawBufferPointer, source: String) throws {
        var parser = JSONParser(bytes: bytes, source: source)
        self = try parser.document()
    }

    /// Parses a string.
    public init(parsing text: String, source: String) throws {
        var text = text
        self = try text.withUTF8 { try JSON(parsing: UnsafeRawBufferPointer($0), source: source) }
    }

    /// Parses the file at `path`.
    public init(contentsOf path: String) throws {
        let file = try MappedFile(path: path)
        self = try withExtendedLifetime(file) { try JSON(parsing: file.bytes, source: path) }
    }
}

private struct JSONParser {
    static let maximumDepth = 512

    let bytes: UnsafeRawBufferPointer
    let source: String
    var position = 0
    var depth = 0

    init(bytes: UnsafeRawBufferPointer, source: String) {
        self.bytes = bytes
        self.source = source
    }

    mutating func document() throws -> JSON {
        if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { position = 3 }
        let value = try value()
        skipSpace()
        guard position == bytes.count else { throw failure("text after the document's end") }
        return value
    }

    func failure(_ problem: String) -> LorikeetError {
        LorikeetError(.malformed, source, "not valid JSON at byte \(position): \(problem)")
    }

    mutating func skipSpace() {
        while position < bytes.count {
            switch bytes[position] {
            case 0x20, 0x09, 0x0A, 0x0D: position += 1
            default: return
            }
        }
    }

    mutating func peek() throws -> UInt8 {
        skipSpace()
        guard position < bytes.count else { throw failure("unexpected end") }
        return bytes[position]
    }

    mutating func expect(_ character: Unicode.Scalar) throws {
        guard try peek() == UInt8(ascii: character) else {
            throw failure("expected '\(character)'")
        }
        position += 1
    }

    mutating func value() throws -> JSON {
        switch try peek() {
        case UInt8(ascii: "{"): return try object()
        case UInt8(ascii: "["): return try array()
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        default: return try number()
        }
    }

    mutating func word(_ word: StaticString, _ value: JSON) throws -> JSON {
        let end = position + word.utf8CodeUnitCount
        guard end <= bytes.count,
            memcmp(bytes.baseAddress! + position, word.utf8Start, word.utf8CodeUnitCount) == 0
        else { throw failure("unknown word") }
        position = end
        return value
    }

    mutating func descend() throws {
        depth += 1
        guard depth <= Self.maximumDepth else {
            throw failure("nested deeper than \(Self.maximumDepth) levels")
        }
    }

    mutating func object() throws -> JSON {
        try descend()
        defer { depth -= 1 }
        position += 1
        var members = JSON.Object()
        if try peek() == UInt8(ascii: "}") {
            position += 1
            return .object(members)
        }
        while true {
            guard try peek() == UInt8(ascii: "\"") else { throw failure("expected a key") }
            let key = try string()
            try expect(":")
            guard members.updateValue(try value(), forKey: key) == nil else {
                throw failure("the key \(String(reflecting: key)) is repeated")
            }
            if try peek() == UInt8(ascii: ",") {
                position += 1
                continue
            }
            try expect("}")
            return .object(members)
        }
    }

    mutating func array() throws -> JSON {
        try descend()
        defer { depth -= 1 }
        position += 1
        var elements: [JSON] = []
        if try peek() == UInt8(ascii: "]") {
            position += 1
            return .array(elements)
        }
        while true {
            elements.append(try value())
            if try peek() == UInt8(ascii: ",") {
                position += 1
                continue
            }
            try expect("]")
            return .array(elements)
        }
    }

    mutating func string() throws -> String {
        position += 1
        let start = position
        while position < bytes.count {
            let byte = bytes[position]
            if byte == UInt8(ascii: "\"") {
                let text = try utf8(UnsafeRawBufferPointer(rebasing: bytes[start..<position]))
                position += 1
                return text
            }
            if byte == UInt8(ascii: "\\") { return try escapedString(from: start) }
            guard byte >= 0x20 else { throw failure("a control character in a string") }
            position += 1
        }
        throw failure("unexpected end in a string")
    }

    func utf8(_ slice: some Collection<UInt8>) throws -> String {
        guard let text = String(validating: slice, as: UTF8.self) else {
            throw failure("a string is not UTF-8")
        }
        return text
    }

    mutating func escapedString(from start: Int) throws -> String {
        var units = Array(bytes[start..<position])
        while position < bytes.count {
            let byte = bytes[position]
            position += 1
            switch byte {
            case UInt8(ascii: "\""):
                return try utf8(units)
            case UInt8(ascii: "\\"):
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
                case UInt8(ascii: "u"): units += try escapedScalar()
                default: throw failure("an unknown escape")
                }
            default:
                guard byte >= 0x20 else { throw failure("a control character in a string") }
                units.append(byte)
            }
        }
        throw failure("unexpected end in a string")
    }

    /// After `\u`: one scalar, or the replacement character for half a surrogate pair.
    mutating func escapedScalar() throws -> [UInt8] {
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
        return Array(String(Unicode.Scalar(scalar) ?? "\u{FFFD}").utf8)
    }

    mutating func hexadecimal() throws -> UInt16 {
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

    mutating func number() throws -> JSON {
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
        let text = String(decoding: bytes[start..<position], as: UTF8.self)
        if isInteger, let value = Int(text) { return .int(value) }
        guard let value = Double(text), value.isFinite else {
            throw failure("a number out of range")
        }
        return .double(value)
    }

    mutating func digit() -> UInt8? {
        guard position < bytes.count, (0x30...0x39).contains(bytes[position]) else { return nil }
        position += 1
        return bytes[position - 1] - 0x30
    }
}
