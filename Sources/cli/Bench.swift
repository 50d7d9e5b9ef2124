import ArgumentParser
import Foundation
import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime

/// `lorikeet bench --model DIR`.
struct Bench: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Measure how fast a model reads and writes on this machine.",
        discussion: """
            Reads a prompt of --prefill tokens, then decodes --decode tokens one by one behind --depth others; \
            medians of --repetitions. The bandwidth probe reads memory with the same threads between the runs: \
            decoding cannot be faster than that over the bytes a token reads.
            """)

    @OptionGroup var model: ModelOptions

    @Option(help: "Tokens of the prompt; 0 to leave it out.")
    var prefill = 512

    @Option(help: "Tokens to decode; 0 to leave it out.")
    var decode = 128

    @Option(help: "Tokens in the cache before decoding begins.")
    var depth = 0

    @Option(help: "How often to measure.")
    var repetitions = 3

    @OptionGroup var common: CommonOptions

    func validate() throws {
        // The model's positions are the real limit; this one keeps sums of tokens within 64 bits.
        let tokens = 0...1_000_000_000
        guard [prefill, decode, depth].allSatisfy(tokens.contains), prefill + decode > 0 else {
            throw ValidationError(
                "--prefill, --decode, --depth: expected 0 to 1e9 tokens, and some work.")
        }
        guard (1...1000).contains(repetitions) else {
            throw ValidationError("--repetitions \(repetitions): expected 1 to 1000.")
        }
    }

    func run() throws {
        // Token ids in, time out: a folder without a tokenizer will do.
        let checkpoint = try Checkpoints.open(model.model)
        let compute = model.compute(common)
        let clock = ContinuousClock()
        let start = clock.now
        let model = try DecoderModel(checkpoint: checkpoint, on: compute)
        let loading = start.duration(to: clock.now)
        let adapter = try Adapters.sum(
            self.model.adapter, over: model, of: checkpoint, on: compute)
        let loadedMemory = peakMemoryBytes()
        var options = SpeedTest.Options()
        options.prefill = prefill
        options.decode = decode
        options.depth = depth
        options.repetitions = repetitions
        let result = try SpeedTest(model, adapter: adapter, options: options, on: compute)
        let loadSeconds =
            Double(loading.components.seconds) + Double(loading.components.attoseconds) * 1e-18
        if common.json {
            Terminal.print([
                "prefill_tokens_per_second": .double(result.prefillTokensPerSecond),
                "decode_tokens_per_second": .double(result.decodeTokensPerSecond),
                "time_to_first_token": .double(prefill > 0 ? result.timeToFirstToken : 0),
                "load_seconds": .double(loadSeconds),
                "loaded_memory_bytes": .int(loadedMemory),
                "peak_memory_bytes": .int(result.peakMemory),
                "bytes_per_token": .int(result.bytesPerToken),
                "bandwidth_probe_bytes_per_second": .double(result.bandwidth),
                "share_of_bandwidth": .double(result.shareOfBandwidth),
                "threads": .int(compute.pool.count), "isa": .string(InstructionSet.current.name),
                "precision": .string(compute.precision.rawValue),
            ])
        } else {
            var lines: [String] = []
            if prefill > 0 {
                lines.append(
                    String(
                        format: "prefill %d: %.1f tokens/s, %.0f ms to the first token", prefill,
                        result.prefillTokensPerSecond, 1000 * result.timeToFirstToken))
            }
            if decode > 0 {
                lines.append(
                    String(
                        format: "decode %d behind %d: %.1f tokens/s, %.0f %% of %.1f GB/s", decode,
                        depth, result.decodeTokensPerSecond, 100 * result.shareOfBandwidth,
                        result.bandwidth / 1e9))
            }
            lines.append(
                "loaded in \(Int(1000 * loadSeconds)) ms, "
                    + "peak memory \(Format.bytes(result.peakMemory)) (\(InstructionSet.current), "
                    + "\(compute.precision.rawValue), \(compute.pool.count) threads)")
            Terminal.print(lines.joined(separator: "\n"))
        }
    }
}
