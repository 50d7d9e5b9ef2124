package import LorikeetQuant
import QuantKernels

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// Rotary position embedding (Su and others, 2021) in Hugging Face's layout: of a head's first rotarySize
/// components, i turns with i + rotarySize / 2; those behind them stay.
package struct RotaryEmbedding: Sendable {
    /// How many positions are tabulated.
    package let positions: Int
    private let headSize: Int
    private let half: Int
    // [positions, rotarySize / 2] each
    private let cosines: Buffer<Float>
    private let sines: Buffer<Float>

    /// Tabulates the angles of positions 0 ..< `positions`.
    ///
    /// - isLocal: whether for the blocks that attend locally.
    package init(_ configuration: ModelConfiguration, positions: Int, isLocal: Bool = false) {
        self.positions = positions
        headSize = configuration.headSize
        let frequencies = Self.frequencies(configuration, isLocal: isLocal)
        half = frequencies.count
        let factor = isLocal ? 1 : Float(configuration.ropeScaling?.attentionFactor ?? 1)
        cosines = Buffer(positions * half)
        sines = Buffer(positions * half)
        for position in 0..<positions {
            for (i, frequency) in frequencies.enumerated() {
                // The product in fp32, as transformers has it: at position 8000 another rounding of
                // the angle would already show in the fourth digit of its cosine.
                let angle = Double(Float(position) * frequency)
                cosines[position * half + i] = Float(cos(angle)) * factor
                sines[position * half + i] = Float(sin(angle)) * factor
            }
        }
    }

    /// Bytes of the table.
    static func memory(_ configuration: ModelConfiguration, positions: Int) -> Int {
        2 * Buffer<Float>.memory(positions * (configuration.rotarySize / 2))
    }

    /// ωᵢ = θ^(−2i / rotarySize), stretched as the configuration says.
    ///
    /// - isLocal: whether with the θ of the blocks that attend locally, which are not stretched.
    package static func frequencies(
        _ configuration: ModelConfiguration, isLocal: Bool = false
    ) -> [Float] {
        let D = configuration.rotarySize
        let local = isLocal ? configuration.localRopeTheta : nil
        let theta = local ?? configuration.ropeTheta
        let plain = (0..<D / 2).map { i in
            Float(1) / Float(pow(theta, Double(2 * i) / Double(D)))
        }
        switch local == nil ? configuration.ropeScaling : nil {
        case nil:
            return plain
        case .linear(let factor):
            return plain.map { $0 / Float(factor) }
        case .factors(let factors, _):
            return zip(plain, factors).map { $0 / Float($1) }
        case .llama3(let factor, let low, let high, let originalMaximumPositions):
            // Llama 3.1: long wavelengths stretched by `factor`, short ones left alone, those between
            // interpolated.
            let context = Double(originalMaximumPositions)
            return plain.map { frequency in
                let wavelength = 2 * Double.pi / Double(frequency)
                if wavelength < context / high { return frequency }
                if wavelength > context / low { return frequency / Float(factor) }
                let smooth = (context / wavelength - low) / (high - low)
                return Float(
                    (1 - smooth) * Double(frequency) / factor + smooth * Double(frequency))
            }
        }
    }

    /// (x₁, x₂) ← (x₁ cos φ − x₂ sin φ, x₂ cos φ + x₁ sin φ), φ = position · ω, in place.
    ///
    /// - x: [count, heads · headSize]
    /// - positions: [count]
    package func forward(
        _ x: UnsafeMutablePointer<Float>, heads: Int, positions: UnsafePointer<Int32>, count: Int,
        on compute: Compute
    ) {
        rotate(x, heads: heads, positions: positions, count: count, sign: 1, on: compute)
    }

    /// dx of a rotation by φ is dy rotated by −φ, in place.
    ///
    /// - dx: holds dy, [count, heads · headSize].
    /// - positions: [count]
    package func backward(
        _ dx: UnsafeMutablePointer<Float>, heads: Int, positions: UnsafePointer<Int32>, count: Int,
        on compute: Compute
    ) {
        rotate(dx, heads: heads, positions: positions, count: count, sign: -1, on: compute)
    }

    private func rotate(
        _ x: UnsafeMutablePointer<Float>, heads: Int, positions: UnsafePointer<Int32>, count: Int,
        sign: Float, on compute: Compute
    ) {
        compute.pool.split(count) { _, begin, end in
            for row in begin..<end {
                let cosine = cosines.pointer + Int(positions[row]) * half
                let sine = sines.pointer + Int(positions[row]) * half
                for head in 0..<heads {
                    compute.kernels.rotate(
                        cosine, sine, half, sign, x + (row * heads + head) * headSize)
                }
            }
        }
    }
}

/// The rotations of a model's blocks: those that attend locally may have their own.
package struct Rotations: Sendable {
    /// Those of blocks that see everything, and of all where there are no others.
    let whole: RotaryEmbedding
    private let local: RotaryEmbedding?

    /// Tabulates the angles of positions 0 ..< `positions`.
    package init(_ configuration: ModelConfiguration, positions: Int) {
        whole = RotaryEmbedding(configuration, positions: positions)
        local = configuration.localRopeTheta.map { _ in
            RotaryEmbedding(configuration, positions: positions, isLocal: true)
        }
    }

    /// Those of a block that attends locally, or does not.
    subscript(isLocal isLocal: Bool) -> RotaryEmbedding { isLocal ? local ?? whole : whole }

    /// Bytes of the tables.
    static func memory(_ configuration: ModelConfiguration, positions: Int) -> Int {
        (configuration.localRopeTheta == nil ? 1 : 2)
            * RotaryEmbedding.memory(configuration, positions: positions)
    }
}
