/// Scalars of a buffer that is known to be valid UTF-8.
extension UnsafeBufferPointer<UInt8> {
    /// The number of bytes of the scalar that starts at `position`.
    @inline(__always)
    func scalarLength(at position: Int) -> Int {
        let byte = self[position]
        return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4
    }

    /// The scalar that starts at `position` and its number of bytes.
    @inline(__always)
    func scalar(at position: Int) -> (value: UInt32, length: Int) {
        let first = UInt32(self[position])
        if first < 0x80 { return (first, 1) }
        let second = UInt32(self[position + 1] & 0x3F)
        if first < 0xE0 { return ((first & 0x1F) << 6 | second, 2) }
        let third = UInt32(self[position + 2] & 0x3F)
        if first < 0xF0 { return ((first & 0x0F) << 12 | second << 6 | third, 3) }
        let fourth = UInt32(self[position + 3] & 0x3F)
        return ((first & 0x07) << 18 | second << 12 | third << 6 | fourth, 4)
    }

    /// Where the scalar before `position` starts.
    @inline(__always)
    func scalarStart(before position: Int) -> Int {
        var start = position - 1
        while self[start] & 0xC0 == 0x80 { start -= 1 }
        return start
    }
}
