/// A GGUF file put together field by field, sound or not.
struct GGUFBuilder {
    var magic: [UInt8] = Array("GGUF".utf8)
    var version: UInt32 = 3
    var tensorCount: UInt64?
    var pairCount: UInt64?
    var alignment = 32
    private var pairs: [[UInt8]] = []
    private var rows: [[UInt8]] = []
    private var data: [UInt8] = []

    /// A string pair.
    mutating func pair(_ key: String, string: String) {
        pairs.append(text(key) + little(UInt32(8)) + text(string))
    }

    /// A u32 pair.
    mutating func pair(_ key: String, _ value: UInt32) {
        pairs.append(text(key) + little(UInt32(4)) + little(value))
    }

    /// A pair of any type: `value` are the bytes after the type.
    mutating func pair(_ key: String, type: UInt32, _ value: [UInt8]) {
        pairs.append(text(key) + little(type) + value)
    }

    /// A row of the table and its data, at the next aligned offset or where the caller says.
    mutating func tensor(
        _ name: String, dimensions: [Int], type: UInt32 = 0, data added: [UInt8],
        offset: UInt64? = nil
    ) {
        data += [UInt8](repeating: 0, count: (alignment - data.count % alignment) % alignment)
        rows.append(
            text(name) + little(UInt32(dimensions.count))
                + dimensions.flatMap { little(UInt64(bitPattern: Int64($0))) }
                + little(type) + little(offset ?? UInt64(data.count)))
        data += added
    }

    /// The file up to its data.
    var header: [UInt8] {
        magic + little(version) + little(tensorCount ?? UInt64(rows.count))
            + little(pairCount ?? UInt64(pairs.count)) + pairs.flatMap { $0 } + rows.flatMap { $0 }
    }

    /// The whole file.
    var bytes: [UInt8] {
        let header = header
        let padding = (alignment - header.count % alignment) % alignment
        return header + [UInt8](repeating: 0, count: padding) + data
    }
}

/// A number's bytes, the least significant first.
func little<Value: FixedWidthInteger>(_ value: Value) -> [UInt8] {
    withUnsafeBytes(of: value.littleEndian) { Array($0) }
}

private func text(_ text: String) -> [UInt8] { little(UInt64(text.utf8.count)) + Array(text.utf8) }
