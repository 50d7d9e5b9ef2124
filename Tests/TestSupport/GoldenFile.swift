public import Foundation

/// Reference tensors in a safetensors file that this project recorded: trusting, for tests only.
public struct GoldenFile {
    private let data: Data
    private let dataStart: Int
    private let entries: [String: Entry]

    private struct Entry: Decodable {
        let dtype: String
        let shape: [Int]
        let data_offsets: [Int]
    }

    /// Reads the whole file at `url`; a missing or malformed file throws.
    public init(_ url: URL) throws {
        data = try Data(contentsOf: url)
        let headerSize = data.prefix(8).reversed().reduce(0) { $0 << 8 | Int($1) }
        dataStart = 8 + headerSize
        let header = try JSONSerialization.jsonObject(with: data[8..<dataStart])
        var tensors = header as? [String: Any] ?? [:]
        tensors["__metadata__"] = nil
        let json = try JSONSerialization.data(withJSONObject: tensors)
        entries = try JSONDecoder().decode([String: Entry].self, from: json)
    }

    /// The tensors' names, sorted.
    public var names: [String] { entries.keys.sorted() }

    /// Whether there is a tensor called `name`.
    public func contains(_ name: String) -> Bool { entries[name] != nil }

    /// The element type as the file spells it: `F32`, `BF16`, `U8`, ….
    public func type(_ name: String) -> String { entry(name).dtype }

    /// The dimensions.
    public func shape(_ name: String) -> [Int] { entry(name).shape }

    /// The tensor's bytes; for U8, its elements.
    public func bytes(_ name: String) -> [UInt8] {
        let offsets = entry(name).data_offsets
        return [UInt8](data[(dataStart + offsets[0])..<(dataStart + offsets[1])])
    }

    /// F32, F16, BF16 or F64 (rounded) elements as fp32.
    public func floats(_ name: String) -> [Float] {
        switch type(name) {
        case "F32": elements(name, as: UInt32.self).map { Float(bitPattern: $0) }
        case "F64": elements(name, as: UInt64.self).map { Float(Double(bitPattern: $0)) }
        case "BF16": elements(name, as: UInt16.self).map { Float(bitPattern: UInt32($0) << 16) }
        case "F16": elements(name, as: UInt16.self).map(GoldenFile.float(half:))
        default: preconditionFailure("\(name) is \(type(name)), not floats")
        }
    }

    /// F64 or F32 elements as fp64.
    public func doubles(_ name: String) -> [Double] {
        type(name) == "F64"
            ? elements(name, as: UInt64.self).map { Double(bitPattern: $0) }
            : floats(name).map(Double.init)
    }

    /// I32 or I64 elements.
    public func int32s(_ name: String) -> [Int32] {
        switch type(name) {
        case "I32": elements(name, as: Int32.self)
        case "I64": elements(name, as: Int64.self).map { Int32($0) }
        default: preconditionFailure("\(name) is \(type(name)), not integers")
        }
    }

    private func entry(_ name: String) -> Entry {
        guard let entry = entries[name] else { preconditionFailure("no tensor \(name)") }
        return entry
    }

    private func elements<T: FixedWidthInteger>(_ name: String, as type: T.Type) -> [T] {
        bytes(name).withUnsafeBytes { raw in
            (0..<raw.count / MemoryLayout<T>.size).map {
                T(
                    littleEndian: raw.loadUnaligned(
                        fromByteOffset: $0 * MemoryLayout<T>.size, as: T.self))
            }
        }
    }

    // Float16 is missing on some of the platforms that Swift runs on.
    private static func float(half: UInt16) -> Float {
        let sign: Float = half & 0x8000 == 0 ? 1 : -1
        let exponent = Int(half >> 10 & 31)
        let fraction = Float(half & 0x3ff)
        switch exponent {
        case 0: return sign * fraction * 0x1p-24
        case 31: return fraction == 0 ? sign * .infinity : .nan
        default:
            return sign * (1 + fraction / 1024)
                * Float(sign: .plus, exponent: exponent - 15, significand: 1)
        }
    }
}
