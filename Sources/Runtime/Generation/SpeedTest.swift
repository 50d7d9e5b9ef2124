public import LorikeetQuant

/// How fast a model reads a prompt and writes an answer, measured over several runs.
public struct SpeedTest: Sendable {
    /// What is run.
    public struct Options: Sendable {
        /// Tokens of the prompt that is timed.
        public var prefill = 512
        /// Tokens that are decoded one by one.
        public var decode = 128
        /// Tokens that are in the cache before decoding begins.
        public var depth = 0
        /// How often everything is measured; medians are reported.
        public var repetitions = 3

        /// 512 and 128 tokens, three times.
        public init() {}
    }

    /// Prompt tokens per second.
    public private(set) var prefillTokensPerSecond = 0.0
    /// New tokens per second, from an empty cache or from `depth` tokens.
    public private(set) var decodeTokensPerSecond = 0.0
    /// Seconds from a prompt of `prefill` tokens to the first new one.
    public private(set) var timeToFirstToken = 0.0
    /// Bytes of memory read per second by all threads, probed between the runs.
    public private(set) var bandwidth = 0.0
    /// Bytes of weights, factors and cache that a decoded token reads.
    public private(set) var bytesPerToken = 0

    /// The largest resident set while the model worked.
    public private(set) var peakMemory = 0

    /// The part of the bandwidth that decoding makes use of.
    public var shareOfBandwidth: Double {
        bandwidth > 0 ? Double(bytesPerToken) * decodeTokensPerSecond / bandwidth : 0
    }

    /// Measures `model`, with an adapter or without.
    ///
    /// - Throws: `.invalidArgument` for more tokens than the model's positions.
    public init(
        _ model: DecoderModel, adapter: (any LowRankDeltas)? = nil, options: Options = Options(),
        on compute: Compute
    ) throws {
        let length = max(options.prefill + 1, options.depth + options.decode + 1)
        guard length <= model.configuration.maximumPositions else {
            throw LorikeetError(
                .invalidArgument, "benchmark", "longer than the model's positions",
                expected: "at most \(model.configuration.maximumPositions) tokens", got: "\(length)"
            )
        }
        let pass = InferencePass(model: model, compute: compute)
        let packed = pass.pack(adapter)
        let cache = pass.makeCache(capacity: length)
        // Any tokens will do: the arithmetic does not depend on them.
        let vocabulary = Int32(model.configuration.vocabularySize)
        let tokens = (0..<Int32(length)).map { ($0 &* 7919 &+ 11) % vocabulary }
        func forward(_ range: Range<Int>) throws {
            _ = try pass.forward(Array(tokens[range]), cache: cache, adapter: packed)
        }
        let clock = ContinuousClock()
        var prefills: [Double] = []
        var decodes: [Double] = []
        var bandwidths: [Double] = []
        // The first round warms up, and shows the memory that the work takes without the probe's.
        var probe: BandwidthProbe?
        for repetition in 0...max(options.repetitions, 1) {
            cache.truncate(to: 0)
            if options.prefill > 0 {
                let time = try clock.measure { try forward(0..<options.prefill) }
                if repetition > 0 { prefills.append(time.seconds) }
            }
            if options.decode > 0 {
                if cache.count < options.depth { try forward(cache.count..<options.depth) }
                cache.truncate(to: options.depth)
                let time = try clock.measure {
                    for i in options.depth..<options.depth + options.decode {
                        try forward(i..<i + 1)
                    }
                }
                if repetition > 0 { decodes.append(time.seconds) }
            }
            if repetition == 0 {
                peakMemory = peakMemoryBytes()
                probe = BandwidthProbe(on: compute)
            }
            if let probe { bandwidths.append(probe.measure()) }
        }
        timeToFirstToken = prefills.median
        prefillTokensPerSecond = Double(options.prefill) / timeToFirstToken
        decodeTokensPerSecond = Double(options.decode) / decodes.median
        bandwidth = bandwidths.median
        bytesPerToken =
            model.weightMemory + (packed?.memory ?? 0)
            + cache.memory(positions: options.depth + options.decode / 2)
    }
}

extension [Double] {
    /// The middle value; infinite where there is none, so that a rate of nothing is 0.
    var median: Double { isEmpty ? .infinity : sorted()[count / 2] }
}
