public import LorikeetQuant
public import LorikeetRuntime
import Synchronization

/// Runs a fixed short prompt with an adapter and without: an adapter that leaves every logit as it was, or
/// makes one NaN, is not served.
///
/// Checks of names and shapes cannot tell whether an adapter does anything; this does, through the same
/// arithmetic as an answer.
public final class AdapterProbe: Sendable {
    private let logits: @Sendable ((any LowRankDeltas)?) throws -> [Float]
    private let base = Mutex<[Float]?>(nil)

    /// A probe of adapters over `model`, in the arithmetic of `compute`.
    public convenience init(_ model: LlamaModel, on compute: Compute) {
        // Attention over one token is the same whatever queries and keys are: it takes two.
        let prompt = (1...2).map { Int32(7919 * $0 % model.configuration.vocabularySize) }
        // Alone: among the threads that answer, each of its many small regions would wait for one of theirs.
        let compute = compute.alone()
        self.init { adapter in
            let pass = InferencePass(model: model, compute: compute, chunk: prompt.count)
            let cache = pass.makeCache(capacity: prompt.count)
            return try withExtendedLifetime(pass) {
                Array(try pass.forward(prompt, cache: cache, adapter: pass.pack(adapter)))
            }
        }
    }

    /// A probe whose last token's logits `logits` computes, with an adapter or without: the same bits for
    /// the same adapter.
    public init(logits: @escaping @Sendable ((any LowRankDeltas)?) throws -> [Float]) {
        self.logits = logits
    }

    /// Computes the base's logits, so that the first check need not.
    public func prepare() throws { _ = try baseLogits() }

    /// Checks that `adapter` changes the logits and leaves them finite.
    ///
    /// - Throws: `.malformed` otherwise.
    public func check(_ adapter: any LowRankDeltas, source: String) throws {
        let (base, got) = (try baseLogits(), try logits(adapter))
        if let token = got.firstIndex(where: { !$0.isFinite }) {
            throw LorikeetError(
                .malformed, source, "with the adapter, logits of the probe are not finite",
                got: "\(got[token]) for token \(token)",
                advice: "Its factors are too large for the base, or the training diverged.")
        }
        guard got != base else {
            throw LorikeetError(
                .malformed, source, "the adapter changes no logit of the probe",
                expected: "at least one of \(base.count) to differ from the base's", got: "none",
                advice: "It is untrained, or its numbers are too small for the base's.")
        }
    }

    private func baseLogits() throws -> [Float] {
        // Who comes meanwhile would have to compute the same.
        try base.withLock { known in
            let logits = try known ?? logits(nil)
            known = logits
            return logits
        }
    }
}
