import LorikeetQuant
import LorikeetRuntime

/// Floats split into byte planes, which zstd packs far better than floats.
///
/// Each float's bits are rotated left by one, which takes the sign to the bottom and leaves the exponent
/// as the top byte by itself; plane p of a tensor holds byte p of each of its numbers. The planes' file
/// has the top planes of all tensors first, then the next: zstd's entropy coder works on 128 KiB at a
/// time, and so sees one kind of byte only.
///
/// The file is safetensors: U8 tensors `NAME.plane0…` of the original's shape, and the original file's
/// header, word for word, in the metadata, so that the original comes back byte for byte.
enum BytePlanes {
    private static let headerKey = "original_header"

    /// The planes of `file`.
    static func split(_ file: FactorFile, source: String) throws -> FactorFile {
        guard
            let header = String(
                validating: file.bytes[8..<8 + file.headerSize], as: UTF8.self)
        else { throw LorikeetError(.malformed, source, "the header is not UTF-8") }
        var planes: [(tensor: Tensor, width: Int, plane: Int)] = []
        for plane in (0..<4).reversed() {
            for tensor in file.tensors {
                guard let width = tensor.type.factorWidth, width > plane else { continue }
                planes.append((tensor, width, plane))
            }
        }
        return try FactorFile(
            metadata: ["encoding": "rotate-left-1 byte planes", headerKey: header],
            tensors: planes.map { ("\($0.tensor.name).plane\($0.plane)", .u8, $0.tensor.shape) },
            source: source
        ) { index, target in
            let (tensor, width, plane) = planes[index]
            switch width {
            case 4: split(tensor.bytes, plane, into: target, as: UInt32.self)
            case 2: split(tensor.bytes, plane, into: target, as: UInt16.self)
            default: target.copyBytes(from: tensor.bytes)
            }
        }
    }

    /// The file whose planes `file` holds.
    ///
    /// - Throws: `.malformed` when planes are missing, left over or of another size.
    static func join(_ file: FactorFile, source: String) throws -> FactorFile {
        let (header, factors) = try factors(of: file, source: source)
        let dataSize = factors.reduce(0) { $0 + $1.size }
        let buffer = Buffer<UInt8>(uninitialized: 8 + header.utf8.count + dataSize)
        let raw = UnsafeMutableRawBufferPointer(buffer.elements)
        raw.storeBytes(of: UInt64(header.utf8.count).littleEndian, as: UInt64.self)
        UnsafeMutableRawBufferPointer(rebasing: raw[8...]).copyBytes(from: header.utf8)
        var start = 8 + header.utf8.count
        for factor in factors {
            join(
                factor.parts,
                into: UnsafeMutableRawBufferPointer(rebasing: raw[start..<start + factor.size]))
            start += factor.size
        }
        return try FactorFile(bytes: UnsafeRawBufferPointer(raw), owner: buffer, source: source)
    }

    /// The tensors whose planes `file` holds, in the order of the original file, and that one's header.
    ///
    /// - Throws: `.malformed` when planes are missing, left over or of another size.
    static func factors(
        of file: FactorFile, source: String
    ) throws -> (header: String, factors: [StoredFactor]) {
        func failure(_ problem: String) -> LorikeetError {
            LorikeetError(.malformed, source, problem)
        }
        guard var text = file.metadata[headerKey] else {
            throw failure("byte planes without the original's header")
        }
        var planes: [String: UnsafeRawBufferPointer] = [:]
        var dataSize = 0
        for tensor in file.tensors {
            guard tensor.type == .u8 else { throw failure("\(tensor.name) is no plane of bytes") }
            planes[tensor.name] = tensor.bytes
            dataSize += tensor.bytes.count
        }
        // The header is checked against the data's size before a byte is placed by its word.
        let header = try text.withUTF8 {
            try SafetensorsHeader(
                parsing: UnsafeRawBufferPointer($0), dataSize: dataSize, path: source)
        }
        let factors = try header.tensors.map { tensor in
            let width = try FactorFile.width(of: tensor.type, tensor.name, source: source)
            let parts = try (0..<width).map { plane in
                let name = "\(tensor.name).plane\(plane)"
                guard let bytes = planes.removeValue(forKey: name),
                    bytes.count == tensor.shape.reduce(1, *)
                else { throw failure("the plane \(name) is missing or of another size") }
                return bytes
            }
            return StoredFactor(
                name: tensor.name, type: tensor.type, shape: tensor.shape, parts: parts,
                owner: file.owner)
        }
        guard planes.isEmpty else {
            throw failure("the plane \(planes.keys.sorted()[0]) belongs to no tensor")
        }
        return (text, factors)
    }

    /// Puts numbers together from their planes, lowest byte first.
    static func join(
        _ planes: [UnsafeRawBufferPointer], into words: UnsafeMutableRawBufferPointer
    ) {
        switch planes.count {
        case 4: join(planes[0], planes[1], planes[2], planes[3], into: words)
        case 2: join(planes[0], planes[1], into: words)
        default: words.copyBytes(from: planes[0])
        }
    }

    private static func split<Word: FixedWidthInteger & BitwiseCopyable>(
        _ words: UnsafeRawBufferPointer, _ plane: Int, into target: UnsafeMutableRawBufferPointer,
        as type: Word.Type
    ) {
        let size = MemoryLayout<Word>.size
        for index in 0..<target.count {
            let word = Word(
                littleEndian: words.loadUnaligned(fromByteOffset: index * size, as: type))
            let rotated = word << 1 | word >> (Word.bitWidth - 1)
            target[index] = UInt8(truncatingIfNeeded: rotated >> (8 * plane))
        }
    }

    // All planes in one pass over the words, which the compiler makes vectors of.
    private static func join(
        _ p0: UnsafeRawBufferPointer, _ p1: UnsafeRawBufferPointer, _ p2: UnsafeRawBufferPointer,
        _ p3: UnsafeRawBufferPointer, into words: UnsafeMutableRawBufferPointer
    ) {
        for index in 0..<p0.count {
            let low = UInt32(p0[index]) | UInt32(p1[index]) << 8
            let rotated = low | UInt32(p2[index]) << 16 | UInt32(p3[index]) << 24
            let word = rotated >> 1 | rotated << 31
            words.storeBytes(of: word.littleEndian, toByteOffset: 4 * index, as: UInt32.self)
        }
    }

    private static func join(
        _ p0: UnsafeRawBufferPointer, _ p1: UnsafeRawBufferPointer,
        into words: UnsafeMutableRawBufferPointer
    ) {
        for index in 0..<p0.count {
            let rotated = UInt16(p0[index]) | UInt16(p1[index]) << 8
            let word = rotated >> 1 | rotated << 15
            words.storeBytes(of: word.littleEndian, toByteOffset: 2 * index, as: UInt16.self)
        }
    }
}
