public import LorikeetQuant
public import LorikeetRuntime
import Synchronization

/// Runs a fixed short prompt with an adapter and without: an adapter that changes nothing of what the logits
/// are made of, or makes some of it NaN, is not served.
///
/// Checks of names and shapes cannot tell whether an adapter does anything; this does, through the same
/// arithmetic as an answer. It looks at what the output projection gets: that has more outputs than inputs, so
/// that logits are the same where its inputs are, and only there. Of an adapter with an output projection of its
/// own it looks at the logits too.
public final class AdapterProbe<Terms: Sendable>: Sendable {
    private let states: @Sendable (Terms?) throws -> [Float]
    private let base = Mutex<[Float]?>(nil)

    /// A probe of adapters over `model`, in the arithmetic of `compute`.
    ///
    /// - packed: an adapter's terms as inputs take them.
    public convenience init(
        _ model: DecoderModel, on compute: Compute,
        packed: @escaping @Sendable (Terms) -> PackedDeltas
    ) {
        // Attention over one token is the same whatever queries and keys are: it takes two.
        let prompt = (1...2).map { Int32(7919 * $0 % model.configuration.vocabularySize) }
        // Alone: among the threads that answer, each of its many small regions would wait for one of theirs.
        let compute = compute.alone()
        self.init { terms in
            let pass = InferencePass(model: model, compute: compute, chunk: prompt.count)
            let cache = pass.makeCache(capacity: prompt.count)
            let adapter = terms.map(packed)
            let states = try pass.meanHiddenState(of: prompt, cache: cache, adapter: adapter)
            guard adapter?.bringsOutput == true else { return states }
            cache.truncate(to: 0)
            return try states + pass.forward(prompt, cache: cache, adapter: adapter)
        }
    }

    /// A probe of adapters over `encoder`, in its arithmetic: of hidden states, and of the outputs of a head.
    ///
    /// - deltas: an adapter's terms as the encoder takes them.
    public convenience init(
        _ encoder: TextEncoder, deltas: @escaping @Sendable (Terms) -> any LowRankDeltas
    ) {
        let (model, compute) = (encoder.model, encoder.compute.alone())
        let tokens = (1...2).map { Int32(7919 * $0 % model.configuration.vocabularySize) }
        let rows = [TrainingRow(inputIDs: tokens, target: nil)]
        self.init { terms in
            let adapter = terms.map(deltas)
            let pass = EncoderPass(model: model, compute: compute, maximumTokens: tokens.count)
            var states: [Float] = []
            try pass.hiddenStates(of: rows, adapter: adapter) { _, values, count in
                states += UnsafeBufferPointer(
                    start: values, count: count * model.configuration.hiddenSize)
            }
            let hasHead =
                (adapter?.tensor("classifier.bias") ?? model.headTensors["classifier.bias"]) != nil
            return hasHead ? try states + pass.logits(of: rows, adapter: adapter)[0] : states
        }
    }

    /// A probe of what `states` computes, with an adapter or without: the same bits for the same adapter.
    public init(states: @escaping @Sendable (Terms?) throws -> [Float]) {
        self.states = states
    }

    /// Computes the base's states, so that the first check need not.
    public func prepare() throws { _ = try baseStates() }

    /// Checks that an adapter changes the states and leaves them finite.
    ///
    /// - Throws: `.malformed` otherwise.
    public func check(_ terms: Terms, source: String) throws {
        let (base, got) = (try baseStates(), try states(terms))
        if let index = got.firstIndex(where: { !$0.isFinite }) {
            throw LorikeetError(
                .malformed, source, "with the adapter, logits of the probe are not finite",
                got: "\(got[index]) in the hidden state that they are made of",
                advice: "Its factors are too large for the base, or the training diverged.")
        }
        guard got != base else {
            throw LorikeetError(
                .malformed, source, "the adapter changes no logit of the probe",
                expected: "a hidden state other than the base's", got: "the same",
                advice: "It is untrained, or its numbers are too small for the base's.")
        }
    }

    private func baseStates() throws -> [Float] {
        // Who comes meanwhile would have to compute the same.
        try base.withLock { known in
            let states = try known ?? states(nil)
            known = states
            return states
        }
    }
}
