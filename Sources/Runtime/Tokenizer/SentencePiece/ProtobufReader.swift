/// Reads a message in Protocol Buffers' wire format, field by field, and never past its end.
struct ProtobufReader {
    /// What a field holds.
    enum Value {
        case varint(UInt64)
        case fixed32(UInt32)
        case fixed64(UInt64)
        /// A string, bytes or a message, and where in the file it begins.
        case bytes(UnsafeRawBufferPointer, at: Int)
    }

    /// A field: its number and what it holds.
    struct Field {
        let number: UInt64
        let value: Value
        fileprivate let message: String
        fileprivate let source: String
    }

    private let bytes: UnsafeRawBufferPointer
    /// Where the message begins in the file.
    private let start: Int
    private let message: String
    private let source: String
    private var position = 0

    /// - Parameters:
    ///   - bytes: the message.
    ///   - start: where in the file it begins.
    ///   - message: its name, for errors.
    ///   - source: the file.
    init(_ bytes: UnsafeRawBufferPointer, at start: Int, message: String, source: String) {
        self.bytes = bytes
        self.start = start
        self.message = message
        self.source = source
    }

    /// The next field, or nil at the end.
    mutating func next() throws -> Field? {
        guard position < bytes.count else { return nil }
        let key = try varint()
        let value: Value
        switch key & 7 {
        case 0: value = .varint(try varint())
        case 1: value = .fixed64(try fixed(UInt64.self))
        case 2:
            let count = try varint()
            guard count <= UInt64(bytes.count - position) else {
                throw malformed(
                    "a field that is longer than its message",
                    expected: "at most \(bytes.count - position) bytes", got: "\(count)")
            }
            let end = position + Int(count)
            value = .bytes(
                UnsafeRawBufferPointer(rebasing: bytes[position..<end]), at: start + position)
            position = end
        case 5: value = .fixed32(try fixed(UInt32.self))
        default:
            throw malformed(
                "a field of an unknown wire type", expected: "0, 1, 2 or 5", got: "\(key & 7)")
        }
        return Field(number: key >> 3, value: value, message: message, source: source)
    }

    private mutating func varint() throws -> UInt64 {
        var value: UInt64 = 0
        for shift in stride(from: UInt64(0), to: 70, by: 7) {
            guard position < bytes.count else { throw malformed("it ends within a number") }
            let byte = bytes[position]
            position += 1
            value |= UInt64(byte & 0x7F) << shift
            if byte < 0x80 { return value }
        }
        throw malformed("a number of more than ten bytes")
    }

    private mutating func fixed<Number: FixedWidthInteger & BitwiseCopyable>(
        _: Number.Type
    ) throws -> Number {
        let size = MemoryLayout<Number>.size
        guard size <= bytes.count - position else { throw malformed("it ends within a number") }
        defer { position += size }
        return Number(littleEndian: bytes.loadUnaligned(fromByteOffset: position, as: Number.self))
    }

    private func malformed(
        _ problem: String, expected: String? = nil, got: String? = nil
    ) -> LorikeetError {
        LorikeetError(
            .malformed, source, "\(message): \(problem), at byte \(start + position)",
            expected: expected, got: got,
            advice: "The file may be truncated or no SentencePiece model; get it again.")
    }
}

extension ProtobufReader.Field {
    /// An integer, a boolean or an enumeration's number.
    func integer(_ name: String) throws -> Int {
        guard case .varint(let value) = value else { throw wrongType(name, "an integer") }
        return Int(truncatingIfNeeded: value)
    }

    /// A boolean.
    func bool(_ name: String) throws -> Bool { try integer(name) != 0 }

    /// A float, which must be a number.
    func float(_ name: String) throws -> Float {
        guard case .fixed32(let bits) = value else { throw wrongType(name, "a float") }
        let value = Float(bitPattern: bits)
        guard value.isFinite else {
            throw LorikeetError(
                .malformed, source, "\(message).\(name): not a number", got: "\(value)")
        }
        return value
    }

    /// The bytes.
    func bytes(_ name: String) throws -> UnsafeRawBufferPointer {
        guard case .bytes(let bytes, _) = value else { throw wrongType(name, "bytes") }
        return bytes
    }

    /// A text, which must be UTF-8.
    func string(_ name: String) throws -> String {
        guard let text = String(validating: try bytes(name), as: UTF8.self) else {
            throw LorikeetError(
                .malformed, source, "\(message).\(name): not UTF-8",
                got: String(decoding: try bytes(name), as: UTF8.self))
        }
        return text
    }

    /// A message within this one.
    func reader(_ name: String) throws -> ProtobufReader {
        guard case .bytes(let bytes, let start) = value else { throw wrongType(name, "a message") }
        return ProtobufReader(bytes, at: start, message: name, source: source)
    }

    private func wrongType(_ name: String, _ expected: String) -> LorikeetError {
        LorikeetError(
            .malformed, source, "\(message).\(name): of another type than expected",
            expected: expected)
    }
}
