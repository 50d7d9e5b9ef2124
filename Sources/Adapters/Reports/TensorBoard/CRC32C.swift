/// The cyclic redundancy check of Castagnoli's polynomial, as iSCSI (RFC 3720, appendix B.4) and TFRecord
/// files have it.
enum CRC32C {
    /// The remainder of each byte, bits reversed.
    private static let table: [UInt32] = (0..<256).map { byte in
        (0..<8).reduce(UInt32(byte)) { value, _ in value >> 1 ^ (value & 1) * 0x82F6_3B78 }
    }

    /// The check of `bytes`.
    static func checksum(_ bytes: [UInt8]) -> UInt32 {
        ~bytes.reduce(~0) { table[Int(UInt8(truncatingIfNeeded: $0) ^ $1)] ^ $0 >> 8 }
    }

    /// TFRecord's form of it, for records that hold checks themselves: rotated, and a constant added.
    static func masked(_ bytes: [UInt8]) -> UInt32 {
        let check = checksum(bytes)
        return (check >> 15 | check << 17) &+ 0xA282_EAD8
    }
}
