import OrderedCollections

/// Reads GGUF's little-endian fields one after the other, and never past the end.
struct GGUFCursor {
    private let bytes: UnsafeRawBufferPointer
    private let path: String
    /// The next byte to read.
    private(set) var position = 0
    /// Elements of arrays still accepted: a JSON value takes many times a byte of the file.
    private var arrayBudget = 1 << 24

    init(_ bytes: UnsafeRawBufferPointer, path: String) {
        self.bytes = bytes
        self.path = path
    }

    var remaining: Int { bytes.count - position }

    func malformed(_ problem: String, expected: String? = nil, got: String? = nil) -> LorikeetError
    {
        LorikeetError(
            .malformed, path, "\(problem), at byte \(position)", expected: expected, got: got)
    }

    mutating func read<Value: BitwiseCopyable>(_ type: Value.Type) throws -> Value {
        let size = MemoryLayout<Value>.size
        guard size <= remaining else {
            throw LorikeetError(
                .malformed, path, "it ends within its header", got: "\(bytes.count) bytes",
                advice: "The file may be truncated; get it again.")
        }
        defer { position += size }
        return bytes.loadUnaligned(fromByteOffset: position, as: Value.self)
    }

    /// A count of things that take at least `minimumBytes` each in what remains of the file.
    mutating func count(of minimumBytes: Int, _ what: String) throws -> Int {
        let count = try read(UInt64.self)
        guard count <= UInt64(remaining / minimumBytes) else {
            throw malformed("\(what) do not fit the file", got: "\(count)")
        }
        return Int(count)
    }

    /// A name, which must be UTF-8.
    mutating func name(_ what: String) throws -> String {
        let slice = try text("\(what)'s bytes")
        guard let name = String(validating: slice, as: UTF8.self) else {
            throw malformed("\(what) is not UTF-8")
        }
        return name
    }

    private mutating func text(_ what: String) throws -> Slice<UnsafeRawBufferPointer> {
        let count = try count(of: 1, what)
        defer { position += count }
        return bytes[position..<position + count]
    }

    /// A metadata value: its type, then itself.
    mutating func value() throws -> JSON {
        try value(of: try read(UInt32.self), depth: 0)
    }

    private mutating func value(of type: UInt32, depth: Int) throws -> JSON {
        switch type {
        case 0: return .int(Int(try read(UInt8.self)))
        case 1: return .int(Int(try read(Int8.self)))
        case 2: return .int(Int(try read(UInt16.self)))
        case 3: return .int(Int(try read(Int16.self)))
        case 4: return .int(Int(try read(UInt32.self)))
        case 5: return .int(Int(try read(Int32.self)))
        case 6: return .double(Double(try read(Float.self)))
        case 7: return .bool(try read(UInt8.self) != 0)
        // Tokens may be bytes that are no UTF-8 by themselves; they are repaired, not refused.
        case 8: return .string(String(decoding: try text("a string's bytes"), as: UTF8.self))
        case 9: return .array(try array(depth: depth + 1))
        case 10:
            let value = try read(UInt64.self)
            return Int(exactly: value).map { .int($0) } ?? .double(Double(value))
        case 11: return .int(Int(try read(Int64.self)))
        case 12: return .double(try read(Double.self))
        default:
            throw malformed(
                "a metadata value has an unknown type", expected: "0 to 12", got: "\(type)")
        }
    }

    private mutating func array(depth: Int) throws -> [JSON] {
        guard depth <= 4 else { throw malformed("arrays are nested deeper than 4 levels") }
        let type = try read(UInt32.self)
        let sizes = [1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8]
        guard type < sizes.count else {
            throw malformed("an array has elements of an unknown type", got: "\(type)")
        }
        let count = try count(of: sizes[Int(type)], "an array's elements")
        guard count <= arrayBudget else {
            throw malformed("the metadata's arrays have too many elements", got: "\(count)")
        }
        arrayBudget -= count
        var elements: [JSON] = []
        elements.reserveCapacity(count)
        for _ in 0..<count { elements.append(try value(of: type, depth: depth)) }
        return elements
    }
}
