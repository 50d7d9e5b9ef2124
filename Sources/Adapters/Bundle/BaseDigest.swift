import Crypto
public import LorikeetRuntime

/// The identity of a base: what an adapter was trained over.
///
/// SHA-256 of the listing
///
/// ```
/// lorikeet base 1
/// NAME TYPE ROWS,COLUMNS SHA-256-OF-THE-BYTES
/// …
/// ```
///
/// one line, ended by a line feed, for each tensor, in the order of the names' UTF-8 bytes. A base with
/// NF4 or FP4 weights lists these and their companions alone, for the tensors that stay in floats may be
/// stored in more than one float type; `.quant_state.…` is left out, since it is JSON whose numbers
/// different programs spell differently. Any other base lists all its tensors.
public enum BaseDigest {
    private static let companions = [
        "absmax", "quant_map", "nested_absmax", "nested_quant_map",
    ]

    /// The digest of `checkpoint`; reads every byte of the tensors it lists.
    ///
    /// - Throws: what reading the checkpoint throws.
    public static func of(_ checkpoint: some Checkpoint) throws -> String {
        var all: [Tensor] = []
        var quantized: [Tensor] = []
        for name in checkpoint.tensorNames {
            let tensor = try checkpoint.tensor(name)
            all.append(tensor)
            // Only a 4-bit weight has companions, and the first of them always.
            let parts = companions.compactMap { try? checkpoint.tensor("\(name).\($0)") }
            if !parts.isEmpty { quantized += [tensor] + parts }
        }
        return digest(of: quantized.isEmpty ? all : quantized)
    }

    private static func digest(of tensors: [Tensor]) -> String {
        var listing = SHA256()
        listing.update(data: Array("lorikeet base 1\n".utf8))
        for tensor in tensors.sorted(by: { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }) {
            let shape = tensor.shape.map(String.init).joined(separator: ",")
            let line =
                "\(tensor.name) \(tensor.type.rawValue) \(shape) \(Digest.sha256(tensor.bytes))\n"
            listing.update(data: Array(line.utf8))
            tensor.releasePages()
        }
        return listing.finalize().hexadecimal
    }
}
