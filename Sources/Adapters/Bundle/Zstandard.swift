import CZstd
import Foundation
package import LorikeetQuant
import LorikeetRuntime

/// One zstd frame around a whole file (RFC 8878).
package enum Zstandard {
    /// The most that a large file may grow by: planes reach 1.5, their JSON header 20.
    package static let maximumRatio = 32
    /// What even the smallest file may hold: an adapter of equal numbers compresses a thousandfold.
    package static let smallContent = 64 << 20

    /// Compresses `parts`, one after another, into one frame with its content size and a checksum.
    package static func compress(
        _ parts: [UnsafeRawBufferPointer], into write: (UnsafeRawBufferPointer) throws -> Void
    )
        throws
    {
        guard let context = ZSTD_createCCtx() else { throw outOfMemory() }
        defer { ZSTD_freeCCtx(context) }
        let total = parts.reduce(0) { $0 + $1.count }
        // Level 1: on byte planes it beats higher levels in ratio and speed, for there is nothing to
        // match and all is in the entropy coder.
        try check(ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, 1))
        try check(ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1))
        try check(ZSTD_CCtx_setPledgedSrcSize(context, UInt64(total)))
        let chunk = UnsafeMutableRawBufferPointer.allocate(
            byteCount: ZSTD_CStreamOutSize(), alignment: 64)
        defer { chunk.deallocate() }
        for (index, part) in parts.enumerated() {
            var input = ZSTD_inBuffer(src: part.baseAddress, size: part.count, pos: 0)
            let isLast = index == parts.count - 1
            var remaining: Int
            repeat {
                var output = ZSTD_outBuffer(dst: chunk.baseAddress, size: chunk.count, pos: 0)
                remaining = try check(
                    ZSTD_compressStream2(
                        context, &output, &input, isLast ? ZSTD_e_end : ZSTD_e_continue))
                try write(UnsafeRawBufferPointer(rebasing: chunk[..<output.pos]))
            } while isLast ? remaining != 0 : input.pos < input.size
        }
    }

    /// Decompresses a file that is exactly one frame, of at most `maximumBytes` whatever it says.
    ///
    /// A frame that tells its size is decompressed into its final memory at once.
    ///
    /// - Throws: `.malformed` for anything but one whole frame, `.unsupported` for one past the limits;
    ///   no more is ever allocated than `maximumBytes`, nor than 32 times the file's size or 64 MiB.
    package static func decompress(
        _ bytes: UnsafeRawBufferPointer, maximumBytes: Int, source: String
    ) throws -> Buffer<UInt8> {
        let (grown, overflow) = bytes.count.multipliedReportingOverflow(by: maximumRatio)
        let limit = min(maximumBytes, overflow ? .max : max(grown, smallContent))
        var content: Buffer<UInt8>
        // The two largest values say "unknown" (as `zstd` writes from a pipe) and "no zstd frame".
        switch ZSTD_getFrameContentSize(bytes.baseAddress, bytes.count) {
        case .max: content = Buffer(uninitialized: min(ZSTD_DStreamOutSize(), limit))
        case .max - 1:
            throw LorikeetError(.malformed, source, "not a zstd frame, or a truncated one")
        case let claimed:
            guard claimed <= limit else { throw tooLarge(source, "\(claimed) bytes", limit) }
            content = Buffer(uninitialized: Int(claimed))
        }
        guard let context = ZSTD_createDCtx() else { throw outOfMemory() }
        defer { ZSTD_freeDCtx(context) }
        // 8 MiB, the window of level 19; a lying header could ask for 128.
        try check(ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, 23))
        var input = ZSTD_inBuffer(src: bytes.baseAddress, size: bytes.count, pos: 0)
        var output = ZSTD_outBuffer(dst: content.pointer, size: content.count, pos: 0)
        while true {
            let before = (input.pos, output.pos)
            let code = ZSTD_decompressStream(context, &output, &input)
            guard ZSTD_isError(code) == 0 else {
                throw LorikeetError(
                    .malformed, source,
                    "the zstd frame is damaged: \(String(cString: ZSTD_getErrorName(code)))")
            }
            if code == 0 { break }
            guard before == (input.pos, output.pos) else { continue }
            guard output.pos == output.size else {
                throw LorikeetError(.malformed, source, "the zstd frame is truncated")
            }
            guard output.size < limit else { throw tooLarge(source, "more", limit) }
            let larger = Buffer<UInt8>(uninitialized: min(limit, max(4096, 2 * output.size)))
            larger.pointer.update(from: content.pointer, count: output.pos)
            content = larger
            (output.dst, output.size) = (UnsafeMutableRawPointer(content.pointer), content.count)
        }
        guard input.pos == input.size else {
            throw LorikeetError(
                .malformed, source, "\(input.size - input.pos) bytes follow the zstd frame")
        }
        return output.pos == content.count
            ? content : Buffer(content.pointer, count: output.pos, in: content)
    }

    @discardableResult
    private static func check(_ code: Int) throws -> Int {
        guard ZSTD_isError(code) == 0 else {
            throw LorikeetError(.io, "zstd", String(cString: ZSTD_getErrorName(code)))
        }
        return code
    }

    private static func outOfMemory() -> LorikeetError {
        LorikeetError(.io, "zstd", "out of memory")
    }

    private static func tooLarge(_ source: String, _ got: String, _ limit: Int) -> LorikeetError {
        LorikeetError(
            .unsupported, source, "the zstd frame's content is too large for its size",
            expected: "at most \(limit) bytes", got: got)
    }
}
