import LorikeetQuant
import LorikeetRuntime

/// A tensor of an adapter as a file holds it: its elements, or their byte planes.
struct StoredFactor: @unchecked Sendable {
    // Unchecked: the bytes are never written, and `owner` keeps them.

    /// The name in PEFT's file.
    let name: String
    /// What an element is stored as.
    let type: TensorType
    /// Outermost dimension first.
    let shape: [Int]
    /// The elements; or, where there are several, byte p of all of them, rotated as `BytePlanes` says.
    let parts: [UnsafeRawBufferPointer]
    /// What keeps the bytes.
    let owner: AnyObject

    /// The number of elements.
    var count: Int { shape.reduce(1, *) }

    /// The number of bytes.
    var size: Int { parts.reduce(0) { $0 + $1.count } }

    /// Writes the elements in fp32.
    ///
    /// - Throws: `.unsupported` for a type that is no float.
    func floats(into values: UnsafeMutablePointer<Float>, source: String) throws {
        if type == .f32, parts.count > 1 {
            return BytePlanes.join(
                parts, into: UnsafeMutableRawBufferPointer(start: values, count: size))
        }
        var bytes = parts[0]
        var words: Buffer<UInt8>?
        if parts.count > 1 {
            let joined = Buffer<UInt8>(uninitialized: size)
            BytePlanes.join(parts, into: UnsafeMutableRawBufferPointer(joined.elements))
            (bytes, words) = (UnsafeRawBufferPointer(joined.elements), joined)
        }
        try Tensor(name: name, type: type, shape: shape, bytes: bytes, owner: words ?? owner)
            .floats(into: values, path: source)
    }
}

extension FactorFile {
    /// The tensors as they lie in this file.
    var factors: [StoredFactor] {
        tensors.map {
            StoredFactor(
                name: $0.name, type: $0.type, shape: $0.shape, parts: [$0.bytes], owner: owner)
        }
    }
}
