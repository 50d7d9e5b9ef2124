import LorikeetAdapters
import LorikeetRuntime
import Testing

struct ZstandardTests {
    private func compress(_ parts: [[UInt8]]) throws -> [UInt8] {
        var output: [UInt8] = []
        let whole = parts.flatMap { $0 }
        try whole.withUnsafeBytes { whole in
            var start = 0
            let pieces = parts.map { part in
                defer { start += part.count }
                return UnsafeRawBufferPointer(rebasing: whole[start..<start + part.count])
            }
            try Zstandard.compress(pieces) { output += $0 }
        }
        return output
    }

    private func decompress(_ bytes: [UInt8], maximumBytes: Int = 1 << 30) throws -> [UInt8] {
        try bytes.withUnsafeBytes {
            try Zstandard.decompress($0, maximumBytes: maximumBytes, source: "frame").array
        }
    }

    /// Bytes without a pattern: a linear congruential generator's top bits.
    private func noise(_ count: Int) -> [UInt8] {
        var state: UInt64 = 1
        return (0..<count).map { _ in
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return UInt8(truncatingIfNeeded: state >> 56)
        }
    }

    @Test(arguments: [[0], [1], [0, 5, 0], [1 << 17, 3, 1 << 18], [300_000, 0]])
    func `parts come back as one`(counts: [Int]) throws {
        let parts = counts.map(noise)
        #expect(try decompress(compress(parts)) == parts.flatMap { $0 })
    }

    @Test func `the limit holds`() throws {
        let frame = try compress([noise(1000)])
        #expect(try decompress(frame, maximumBytes: 1000).count == 1000)
        #expect(try failure { _ = try decompress(frame, maximumBytes: 999) }.code == .unsupported)
    }

    @Test func `zeros past what a small file may hold are refused`() throws {
        // 65 MiB of zeros make a frame of some kilobytes.
        let frame = try compress([[UInt8](repeating: 0, count: 65 << 20)])
        #expect(frame.count < 1 << 20)
        #expect(try failure { _ = try decompress(frame) }.code == .unsupported)
    }

    @Test func `a frame of unknown size is held to the limit as it grows`() throws {
        // RFC 8878: magic, descriptor 0 (no content size, no checksum), window 1 MiB, then blocks of 128 KiB
        // that repeat a zero (type 1).
        let block = (1 << 17) << 3 | 1 << 1
        let header: [UInt8] = [0x28, 0xB5, 0x2F, 0xFD, 0x00, 0x50]
        func blockBytes(last: Int) -> [UInt8] {
            let bits = block | last
            return [UInt8(bits & 255), UInt8(bits >> 8 & 255), UInt8(bits >> 16), 0]
        }
        let many = header + (0..<9).flatMap { _ in blockBytes(last: 0) } + blockBytes(last: 1)
        #expect(try decompress(many).count == 10 << 17)
        #expect(
            try failure { _ = try decompress(many, maximumBytes: 1 << 20) }.code == .unsupported)
    }

    @Test func `a content size that lies is refused before anything is allocated`() throws {
        // Descriptor 0xE0: one segment, a content size of eight bytes.
        let frame: [UInt8] =
            [0x28, 0xB5, 0x2F, 0xFD, 0xE0] + [UInt8](repeating: 0xF0, count: 8) + [1, 0, 0]
        #expect(try failure { _ = try decompress(frame) }.code == .unsupported)
    }

    @Test func `two frames, a tail and no frame are refused`() throws {
        let frame = try compress([noise(100)])
        for bytes in [frame + frame, frame + [0], [], [1, 2, 3], noise(100)] {
            #expect(throws: LorikeetError.self) { try decompress(bytes) }
        }
    }
}
