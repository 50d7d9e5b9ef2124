import LorikeetRuntime

/// The POSIX ustar archive, as far as a bundle needs it: plain files in one folder.
///
/// A file is a header of 512 bytes and its content padded with zeros to a multiple of 512; two blocks of
/// zeros end the archive.
///
/// ```
/// offset  0 name[100]  100 mode[8]   108 uid[8]       116 gid[8]     124 size[12]    136 mtime[12]
///       148 sum[8]     156 type      157 linkname[100] 257 magic[6]  263 version[2]  265 uname[32]
///       297 gname[32]  329 devmajor[8] 337 devminor[8] 345 prefix[155]
/// ```
package enum Tar {
    static let blockSize = 512

    /// What eleven octal digits hold.
    static let maximumFileSize = 1 << 33 - 1

    /// The header of a plain file, the same for the same name and size: no owner, no time.
    package static func header(name: String, size: Int) -> [UInt8] {
        precondition(name.utf8.count <= 100 && (0...maximumFileSize).contains(size))
        var header = [UInt8](repeating: 0, count: blockSize)
        func put(_ text: String, at offset: Int) {
            header.replaceSubrange(offset..<offset + text.utf8.count, with: text.utf8)
        }
        put(name, at: 0)
        put("0000644", at: 100)
        put("0000000", at: 108)
        put("0000000", at: 116)
        put(octal(size, digits: 11), at: 124)
        put(octal(0, digits: 11), at: 136)
        put("0", at: 156)
        put("ustar\u{0}00", at: 257)
        put("0000000", at: 329)
        put("0000000", at: 337)
        put(octal(checksum(header), digits: 6) + "\u{0} ", at: 148)
        return header
    }

    /// The zeros that follow a file of `size` bytes.
    package static func padding(after size: Int) -> [UInt8] {
        [UInt8](repeating: 0, count: (blockSize - size % blockSize) % blockSize)
    }

    /// The two blocks that end an archive.
    package static let end = [UInt8](repeating: 0, count: 2 * blockSize)

    /// Calls `body` with the pieces of an archive of `files`, in order.
    static func withParts<Result>(
        of files: [(name: String, content: UnsafeRawBufferPointer)],
        _ body: ([UnsafeRawBufferPointer]) throws -> Result
    ) throws -> Result {
        var frame: [UInt8] = []
        var pieces: [(frame: Range<Int>, content: UnsafeRawBufferPointer?)] = []
        for (name, content) in files {
            let start = frame.count
            frame += header(name: name, size: content.count)
            pieces.append((start..<frame.count, content))
            frame += padding(after: content.count)
            pieces.append((start + blockSize..<frame.count, nil))
        }
        pieces.append((frame.count..<frame.count + end.count, nil))
        frame += end
        return try frame.withUnsafeBytes { frame in
            try body(
                pieces.flatMap { piece in
                    [UnsafeRawBufferPointer(rebasing: frame[piece.frame])]
                        + [piece.content].compactMap(\.self)
                })
        }
    }

    /// The files of an archive, in its order, as ranges of `bytes`.
    ///
    /// - Throws: `.malformed` for anything but plain files with plain, distinct names and a proper end;
    ///   owner, mode and time are not looked at.
    package static func files(
        in bytes: UnsafeBufferPointer<UInt8>, source: String
    ) throws -> [(name: String, content: Range<Int>)] {
        var files: [(name: String, content: Range<Int>)] = []
        var position = 0
        while true {
            guard bytes.count - position >= blockSize else {
                throw LorikeetError(.malformed, source, "the tar archive ends without its end mark")
            }
            let header = Array(bytes[position..<position + blockSize])
            if header.allSatisfy({ $0 == 0 }) { break }
            let entry = try entry(header, source: source)
            guard !files.contains(where: { $0.name == entry.name }) else {
                throw LorikeetError(.malformed, source, "the tar archive holds \(entry.name) twice")
            }
            let start = position + blockSize
            // A size has at most 33 bits: no overflow.
            let stored = (entry.size + blockSize - 1) / blockSize * blockSize
            guard stored <= bytes.count - start else {
                throw LorikeetError(
                    .malformed, source, "the tar archive is truncated within \(entry.name)",
                    expected: "\(entry.size) bytes", got: "\(bytes.count - start)")
            }
            files.append((entry.name, start..<start + entry.size))
            position = start + stored
        }
        guard bytes.count - position >= end.count, bytes[position...].allSatisfy({ $0 == 0 }) else {
            throw LorikeetError(.malformed, source, "the tar archive's end mark is damaged")
        }
        return files
    }

    private static func entry(
        _ header: [UInt8], source: String
    ) throws -> (name: String, size: Int) {
        func failure(_ problem: String, got: String? = nil) -> LorikeetError {
            LorikeetError(.malformed, source, "a tar header \(problem)", got: got)
        }
        func field(_ offset: Int, _ count: Int) -> ArraySlice<UInt8> {
            header[offset..<offset + count]
        }
        guard number(field(148, 8)) == checksum(header) else {
            throw failure("has a wrong checksum")
        }
        guard field(257, 5).elementsEqual("ustar".utf8) else { throw failure("is no ustar header") }
        let nameField = field(0, 100)
        let nameBytes = nameField.prefix { $0 != 0 }
        guard let name = String(validating: nameBytes, as: UTF8.self),
            !name.isEmpty, nameField[nameBytes.endIndex...].allSatisfy({ $0 == 0 })
        else { throw failure("has a damaged name") }
        guard header[156] == UInt8(ascii: "0") || header[156] == 0, header[157] == 0
        else {
            throw failure(
                "is of something other than a plain file",
                got: "\(String(reflecting: name)) of type "
                    + String(reflecting: String(UnicodeScalar(header[156]))))
        }
        guard header[345] == 0, !name.contains("/"), !name.contains("\\"), name != ".",
            name != ".."
        else { throw failure("names a path", got: String(reflecting: name)) }
        guard let size = number(field(124, 12)) else {
            throw failure("of \(name) has a size that is not octal")
        }
        return (name, size)
    }

    /// Octal digits up to the field's closing zero or space; nil for anything else.
    private static func number(_ field: ArraySlice<UInt8>) -> Int? {
        let digits = field.prefix { $0 != 0 && $0 != 0x20 }
        guard !digits.isEmpty, digits.count <= 11,
            field[digits.endIndex...].allSatisfy({ $0 == 0 || $0 == 0x20 })
        else { return nil }
        var value = 0
        for digit in digits {
            guard (UInt8(ascii: "0")...UInt8(ascii: "7")).contains(digit) else { return nil }
            value = value << 3 | Int(digit - UInt8(ascii: "0"))
        }
        return value
    }

    private static func octal(_ value: Int, digits: Int) -> String {
        let text = String(value, radix: 8)
        return String(repeating: "0", count: digits - text.count) + text
    }

    /// The sum of the header's bytes with its own field taken as spaces.
    private static func checksum(_ header: [UInt8]) -> Int {
        let own = 148..<156
        return header.indices.reduce(0) { $0 + (own.contains($1) ? 0x20 : Int(header[$1])) }
    }
}
