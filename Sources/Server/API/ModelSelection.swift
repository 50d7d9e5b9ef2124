import LorikeetAdapters
import LorikeetRuntime

/// Which adapter a request wants: `model`, or a blend in `adapters`.
struct ModelSelection {
    /// The base, an adapter, or `name@digest`; nil for the base.
    var name: String?
    /// The parts of a blend; none for `name` alone.
    var blend: [BlendPart]

    private static let partLimit = 8

    /// Reads `model` and `adapters`.
    ///
    /// - Throws: `APIError` that names the parameter.
    init(_ fields: RequestFields) throws {
        name = try fields.string("model")
        let parts = try fields.array("adapters") ?? []
        guard parts.count <= Self.partLimit else {
            throw APIError.invalid(
                "adapters", "adapters: expected at most \(Self.partLimit), got \(parts.count).")
        }
        blend = try parts.enumerated().map { index, part in
            let name = "adapters[\(index)]"
            guard let adapter = part["name"]?.string else {
                throw APIError.invalid(name + ".name", "\(name).name: expected a string.")
            }
            let scale = part["scale"] ?? 1
            guard let number = scale.double, (-100...100).contains(number) else {
                throw APIError.invalid(
                    name + ".scale",
                    "\(name).scale: expected a number from -100 to 100, got \(scale.kind).")
            }
            do {
                return BlendPart(try AdapterReference(adapter), scale: Float(number))
            } catch let error as LorikeetError {
                throw APIError.invalid(name + ".name", error.description)
            }
        }
    }
}
