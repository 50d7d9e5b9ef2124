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

    /// The digest of a base with these tensors; reads every byte of those it lists.
    public static func of(_ tensors: some Sequence<Tensor>) -> String {
        let tensors = Array(tensors)
        let weights = Set(
            tensors.lazy.map(\.name).filter { $0.hasSuffix(".absmax") }.map {
                String($0.dropLast(".absmax".count))
            })
        let names = weights.union(weights.flatMap { name in companions.map { "\(name).\($0)" } })
        let listed = weights.isEmpty ? tensors : tensors.filter { names.contains($0.name) }
        var listing = SHA256()
        listing.update(data: Array("lorikeet base 1\n".utf8))
        for tensor in listed.sorted(by: { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }) {
            let shape = tensor.shape.map(String.init).joined(separator: ",")
            let line =
                "\(tensor.name) \(tensor.type.rawValue) \(shape) \(Digest.sha256(tensor.bytes))\n"
            listing.update(data: Array(line.utf8))
        }
        return listing.finalize().hexadecimal
    }
}
