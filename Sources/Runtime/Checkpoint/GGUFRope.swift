import Foundation
import LorikeetQuant

/// The rotary embedding of a GGUF as config.json's `rope_parameters`.
struct GGUFRope {
    let json: JSON

    /// Reads the parameters.
    ///
    /// - rotarySize: how many of a head's components rotate.
    init(
        _ gguf: GGUFFile, _ metadata: GGUFMetadata, theta: Double, headSize: Int, rotarySize: Int
    ) throws {
        let linear = try metadata.number(
            "rope.scaling.factor", default: try metadata.number("rope.scale_linear", default: 1))
        let type = metadata.text("rope.scaling.type") ?? (linear == 1 ? "none" : "linear")
        var json: JSON
        if let factors = try Self.factors(GGUFConfiguration.ropeFactors, of: gguf) {
            json = try Self.llama3(
                factors, theta: theta, headSize: headSize, path: gguf.path)
        } else if let short = try Self.factors(GGUFConfiguration.shortFactors, of: gguf) {
            json = [
                "rope_theta": .double(theta), "rope_type": "longrope",
                "short_factor": .array(short.map { .double($0) }),
                "original_max_position_embeddings": .int(
                    try metadata.count(
                        "rope.scaling.original_context_length",
                        default: try metadata.count("context_length"))),
                "attention_factor": .double(
                    try metadata.number("rope.scaling.attn_factor", default: 1)),
            ]
            if let long = try Self.factors(GGUFConfiguration.longFactors, of: gguf) {
                json["long_factor"] = .array(long.map { .double($0) })
            }
        } else if type == "none" {
            json = ["rope_theta": .double(theta), "rope_type": "default"]
        } else if type == "linear" {
            json = ["factor": .double(linear), "rope_theta": .double(theta), "rope_type": "linear"]
        } else {
            throw LorikeetError(
                .unsupported, gguf.path, "rope.scaling.type is not supported",
                expected: "none or linear", got: type)
        }
        if rotarySize != headSize {
            json["partial_rotary_factor"] = .double(Double(rotarySize) / Double(headSize))
        }
        self.json = json
    }

    /// The factors in the tensor of this name, if there is one.
    private static func factors(_ name: String, of gguf: GGUFFile) throws -> [Double]? {
        guard let tensor = gguf.tensors.first(where: { $0.name == name }) else { return nil }
        let values = Buffer<Float>(tensor.count)
        try tensor.floats(into: values.pointer, path: gguf.path)
        return values.array.map(Double.init)
    }

    /// Finds the parameters of Llama 3's scaling from the factors it divides the frequencies by.
    ///
    /// With wavelength λ = 2π θ^(2i/D) and L the original context, the factor is 1 for λ < L/high, the
    /// scaling's own for λ > L/low, and 1 / ((1 - s)/factor + s), s = (L/λ - low)/(high - low), between.
    /// All such models have low = 1 and high = 4. The largest factor is the scaling's, the ones between
    /// give L (a power of two in practice); the result is believed when it gives back every factor.
    private static func llama3(
        _ factors: [Double], theta: Double, headSize: Int, path: String
    ) throws -> JSON {
        let (low, high) = (1.0, 4.0)
        let wavelengths = factors.indices.map {
            2 * Double.pi * pow(theta, 2 * Double($0) / Double(headSize))
        }
        let factor = factors.max() ?? 1
        let between = zip(factors, wavelengths).first { $0.0 > 1.001 && $0.0 < factor * 0.999 }
        let context = between.map { value, wavelength in
            let smooth = (1 / value - 1 / factor) / (1 - 1 / factor)
            return (wavelength * (low + smooth * (high - low))).rounded()
        }
        // fp32 frequencies and factors: an error of 1e-3 would be a wrong parameter, not rounding.
        let isSound =
            context.map { context in
                factors.count == headSize / 2 && context > 0 && context < 1e9
                    && zip(factors, wavelengths).allSatisfy { value, wavelength in
                        let smooth = min(max((context / wavelength - low) / (high - low), 0), 1)
                        return abs(value * ((1 - smooth) / factor + smooth) - 1) < 1e-3
                    }
            } ?? false
        guard let context, isSound else {
            throw LorikeetError(
                .unsupported, path,
                "\(GGUFConfiguration.ropeFactors) is no scaling of Llama 3's kind",
                advice: "Use the model's Hugging Face folder instead.")
        }
        return [
            "factor": .double((factor * 1000).rounded() / 1000), "high_freq_factor": .double(high),
            "low_freq_factor": .double(low),
            "original_max_position_embeddings": .int(Int(context)),
            "rope_theta": .double(theta), "rope_type": "llama3",
        ]
    }
}
