/// What the peak of a training run is made of, in bytes, before anything is loaded.
///
/// ```swift
/// let base = try MemoryPlan.Base(checkpoint, precision: .int16, threads: 2)
/// let plan = FineTuning().memoryPlan(base, data: MemoryPlan.Data(maximumLength: 512))
/// print(plan.peak)
/// ```
///
/// Each part is a sum of formulas that lie beside the types which allocate, and that tests hold against
/// what these types allocate.
public struct MemoryPlan: Sendable, Equatable {
    /// What memory is for.
    public enum Part: String, CaseIterable, Sendable {
        /// The linear layers in the form that products read, the output projection among them; norms.
        case weights
        /// The rows of the embedding that the data's tokens read, as they lie in the mapped file.
        case embedding
        /// A and B, magnitudes, and a copy of the best of them where there is validation.
        case factors
        /// dA and dB.
        case gradients
        /// What the optimizer remembers.
        case moments
        /// What blocks keep for their gradients.
        case activations
        /// A chunk's logits and their gradients.
        case logits
        /// Attention's scores, and the table of rotations.
        case attention
        /// What lies between the two factors of a layer, and what the method works with.
        case lowRank = "low_rank"
        /// What blocks work with.
        case scratch
        /// The adapter's file and bundle, which are made when the pass has gone.
        case packing
        /// The rows.
        case data
        /// The tokenizer.
        case tokenizer
        /// The program.
        case program
    }

    /// Bytes by part while the run trains.
    public let training: [Part: Int]
    /// Bytes by part while the adapter is packed at its end: the pass is gone by then.
    public let packing: [Part: Int]

    /// - Parameters:
    ///   - parts: bytes by part.
    ///   - pass: the parts that go before the adapter is packed.
    init(_ parts: [Part: Int], pass: Set<Part>) {
        training = parts.filter { $0.key != .packing }
        packing = parts.filter { !pass.contains($0.key) }
    }

    /// The largest amount of memory that the run takes.
    public var peak: Int { parts.values.reduce(0, +) }

    /// Bytes by part when the run takes the most.
    public var parts: [Part: Int] {
        let (whileTraining, whilePacking) = (
            training.values.reduce(0, +), packing.values.reduce(0, +)
        )
        return whileTraining >= whilePacking ? training : packing
    }

    /// The largest part.
    public var largest: Part {
        Part.allCases.max { (parts[$0] ?? 0) < (parts[$1] ?? 0) } ?? .weights
    }
}
