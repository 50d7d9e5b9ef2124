import Foundation
import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime
import TestSupport
import Testing

/// `lorikeet bench` on a tiny model, which has no tokenizer and needs none.
@Suite struct BenchTests {
    private static let tiny = Fixtures.root.appending(
        path: "Tests/RuntimeTests/Resources/tiny/llama_rope3_gqa_tied"
    ).path(percentEncoded: false)

    private func bench(_ arguments: String...) throws -> Program.Outcome {
        try Program.run(
            ["bench", "--model", Self.tiny, "--threads", "2", "--repetitions", "1"] + arguments)
    }

    /// Factors of rank 2 at one layer.
    private func writeAdapter(to path: String) throws {
        let module = ModulePath(layer: 1, module: .query)
        let configuration = AdapterConfiguration(
            rank: 2, alpha: 4, targetModules: .list(["layers.1.self_attn.q_proj"]))
        try Adapters.writePeftFolder(
            at: path, configuration: configuration,
            deltas: [
                module: LowRankDelta(
                    a: Buffer([Float](repeating: 0.1, count: 2 * 64)),
                    b: Buffer([Float](repeating: 0.1, count: 64 * 2)), rank: 2, scale: 2)
            ])
    }

    @Test(arguments: [true, false], ["fp32", "int16", "int8"])
    func `reports what it measured`(hasAdapter: Bool, precision: String) throws {
        try Fixtures.withTemporaryFolder { folder in
            let adapter = folder + "/adapter"
            try writeAdapter(to: adapter)
            var arguments = [
                "bench", "--model", Self.tiny, "--threads", "2", "--prefill", "8", "--decode", "4",
                "--depth", "2", "--repetitions", "1", "--precision", precision, "--json",
            ]
            if hasAdapter { arguments += ["--adapter", adapter] }
            let outcome = try Program.run(arguments)
            #expect(outcome.status == 0, "\(outcome.errors)")
            let json = try outcome.json
            for key in [
                "prefill_tokens_per_second", "decode_tokens_per_second", "time_to_first_token",
                "peak_memory_bytes", "bandwidth_probe_bytes_per_second", "share_of_bandwidth",
            ] {
                #expect((json[key]?.double ?? 0) > 0, "\(key)")
            }
            #expect(json["threads"]?.int == 2)
            #expect(json["precision"]?.string == precision)
        }
    }

    @Test func `an adapter's factors are part of what a token reads`() throws {
        try Fixtures.withTemporaryFolder { folder in
            let adapter = folder + "/adapter"
            try writeAdapter(to: adapter)
            let work = ["--prefill", "0", "--decode", "1", "--json"]
            func bytes(_ arguments: [String]) throws -> Int {
                let outcome = try Program.run(
                    ["bench", "--model", Self.tiny, "--repetitions", "1"] + work + arguments)
                return try outcome.json["bytes_per_token"]?.int ?? 0
            }
            // Bytes, as in every precision but fp32, and a cache line of scales.
            #expect(try bytes(["--adapter", adapter]) - bytes([]) == 2 * 64 + 64 * 2 + 64)
        }
    }

    @Test func `what is left out is 0`() throws {
        let decoding = try bench("--prefill", "0", "--decode", "2", "--json").json
        #expect(decoding["prefill_tokens_per_second"]?.double == 0)
        #expect(decoding["time_to_first_token"]?.double == 0)
        let reading = try bench("--prefill", "2", "--decode", "0", "--json").json
        #expect(reading["decode_tokens_per_second"]?.double == 0)
        #expect(reading["share_of_bandwidth"]?.double == 0)
    }

    @Test(arguments: [
        ["--prefill", "0", "--decode", "0"], ["--prefill=-1"], ["--depth=-1"],
        ["--decode", "9223372036854775807"], ["--repetitions", "0"], ["--threads", "0"],
        ["--precision", "int4"], ["--prefill", "many"],
    ])
    func `wrong usage exits with 64`(arguments: [String]) throws {
        let outcome = try Program.run(["bench", "--model", Self.tiny] + arguments)
        #expect(outcome.status == 64, "\(outcome)")
        #expect(outcome.output.isEmpty)
    }

    @Test
    func `more tokens than the model has positions, and adapters that do not fit, are refused`()
        throws
    {
        for (arguments, word) in [
            (["--prefill", "1000000"], "positions"), (["--depth", "1000000"], "positions"),
            (["--adapter", "/nonexistent/adapter"], "/nonexistent/adapter"),
            (["--adapter", Self.tiny], "adapter_config.json"),
        ] {
            let outcome = try Program.run(["bench", "--model", Self.tiny] + arguments)
            #expect(outcome.status == 1, "\(outcome)")
            #expect(outcome.errors.contains(word), "\(outcome.errors)")
            #expect(outcome.output.isEmpty)
        }
    }
}
