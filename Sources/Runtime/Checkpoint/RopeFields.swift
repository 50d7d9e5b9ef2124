#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// The rotary embedding: `rope_parameters`, or before transformers 5 `rope_theta` and `rope_scaling`.
struct RopeFields {
    let theta: Double
    let scaling: ModelConfiguration.RopeScaling?
    /// How much of a head is rotated.
    let share: Double
    /// The longest sequence that the frequencies are for.
    let maximumPositions: Int

    /// Reads `rope`, or what `fields` has.
    ///
    /// - Parameters:
    ///   - fields: config.json.
    ///   - rope: the parameters, where they lie elsewhere than usual.
    ///   - theta: the default.
    ///   - headSize: the width of a head.
    ///   - maximumPositions: the model's.
    /// - Throws: `.unsupported` for another scaling, `.malformed` for numbers out of bounds.
    init(
        _ fields: ConfigurationFields, rope: ConfigurationFields? = nil, theta: Double,
        headSize: Int, maximumPositions: Int
    ) throws {
        let thetas = 1.0...1e12
        let outer = try fields.number("rope_theta", default: theta, in: thetas)
        let outerShare = try fields.number("partial_rotary_factor", default: 1, in: 0...1)
        // transformers reads the older key first.
        let rope = rope ?? fields.object("rope_scaling") ?? fields.object("rope_parameters")
        guard let rope else {
            (self.theta, scaling, share) = (outer, nil, outerShare)
            self.maximumPositions = maximumPositions
            return
        }
        self.theta = try rope.number("rope_theta", default: outer, in: thetas)
        share = try rope.number("partial_rotary_factor", default: outerShare, in: 0...1)
        let key = rope.json["rope_type"] == nil && rope.json["type"] != nil ? "type" : "rope_type"
        let factors = 1.0...1e6
        switch (rope.json[key] ?? "default").string {
        case "default":
            scaling = nil
            self.maximumPositions = maximumPositions
        case "linear":
            scaling = .linear(factor: try rope.number("factor", in: factors))
            self.maximumPositions = maximumPositions
        case "llama3":
            let low = try rope.number("low_freq_factor", in: 1e-6...1e6)
            let high = try rope.number("high_freq_factor", in: 1e-6...1e6)
            guard low < high else {
                throw rope.malformed(
                    "high_freq_factor", expected: "more than low_freq_factor, \(low)")
            }
            scaling = .llama3(
                factor: try rope.number("factor", in: factors), lowFrequencyFactor: low,
                highFrequencyFactor: high,
                originalMaximumPositions: try rope.count(
                    "original_max_position_embeddings", default: maximumPositions, atMost: 1 << 30))
            self.maximumPositions = maximumPositions
        case "longrope", "su":
            // The factors of short texts: those of long ones would turn every key of a text anew once it
            // passes the original length, so texts end there.
            let original = try rope.count(
                "original_max_position_embeddings",
                default: try fields.count(
                    "original_max_position_embeddings", default: maximumPositions,
                    atMost: 1 << 30),
                atMost: 1 << 30)
            let stretch = try rope.number(
                "factor", default: Double(maximumPositions) / Double(original), in: 1e-6...1e6)
            let usual = stretch <= 1 ? 1 : (1 + log(stretch) / log(Double(original))).squareRoot()
            scaling = .factors(
                try rope.numbers(
                    "short_factor", count: Int(Double(headSize) * share) / 2, in: 1e-6...1e6),
                attentionFactor: try rope.number("attention_factor", default: usual, in: 0...1e6))
            self.maximumPositions = min(maximumPositions, original)
        default:
            throw rope.unsupported(key, expected: "default, linear, llama3 or longrope")
        }
    }
}
