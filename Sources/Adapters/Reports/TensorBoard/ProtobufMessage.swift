/// A Protocol Buffers message, written field by field.
///
/// An event file has four small messages of numbers, strings and one another; a library for that would be larger
/// than what uses it. Source: protobuf.dev/programming-guides/encoding.
struct ProtobufMessage {
    /// The message as it stands in a file.
    private(set) var bytes: [UInt8] = []

    private enum WireType: UInt64 { case varint = 0, fixed64 = 1, counted = 2, fixed32 = 5 }

    private mutating func add(_ field: UInt64, _ type: WireType) {
        addVarint(field << 3 | type.rawValue)
    }

    /// Seven bits a byte, the lowest first; the eighth says that more follow.
    private mutating func addVarint(_ value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }

    /// An int64 or an enumeration.
    mutating func add(_ field: UInt64, _ value: Int) {
        add(field, .varint)
        addVarint(UInt64(bitPattern: Int64(value)))
    }

    mutating func add(_ field: UInt64, _ value: Double) {
        add(field, .fixed64)
        bytes += littleEndian(value.bitPattern)
    }

    mutating func add(_ field: UInt64, _ value: Float) {
        add(field, .fixed32)
        bytes += littleEndian(value.bitPattern)
    }

    mutating func add(_ field: UInt64, _ text: String) { add(field, Array(text.utf8)) }

    mutating func add(_ field: UInt64, _ message: ProtobufMessage) { add(field, message.bytes) }

    private mutating func add(_ field: UInt64, _ content: [UInt8]) {
        add(field, .counted)
        addVarint(UInt64(content.count))
        bytes += content
    }
}

/// The bytes of `value`, the lowest first.
func littleEndian(_ value: some FixedWidthInteger) -> [UInt8] {
    withUnsafeBytes(of: value.littleEndian) { Array($0) }
}
