import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime
import LorikeetServer
import TestSupport
import Testing

/// The texts of many requests share passes, and each gets what it gets alone.
@Suite struct EncoderBatcherTests {
    private func withEncoder<Result>(
        _ body: (TextEncoder) async throws -> Result
    ) async throws -> Result {
        try await Fixtures.withTemporaryFolder { folder in
            try TinyTextEncoder.write("deberta_v3_cls", to: folder + "/model")
            return try await body(
                TextEncoder(
                    path: folder + "/model", compute: Compute(threads: 1, precision: .fp32)))
        }
    }

    private func adapter(_ seed: UInt64, of encoder: TextEncoder) throws -> EncoderAdapter {
        let model = encoder.model.configuration
        let entry = model.modules.entries[0]
        let delta = LowRankDelta(
            a: noise(entry.inputs, seed: seed), b: noise(entry.outputs, seed: seed + 50), rank: 1,
            scale: 0.2)
        let deltas = TestAdapter([ModulePath(layer: 0, module: entry.module): delta])
        return EncoderAdapter(key: "\(seed)", deltas: deltas, task: nil)
    }

    /// Lets `request` wait in `inbox`.
    private func submit(
        _ request: EncoderRequest, to inbox: EncoderInbox,
        _ cancellation: EncoderSubmission.Cancellation = .init()
    ) async -> Task<EncoderOutputs, any Error> {
        let count = inbox.count
        let task = Task {
            try await withCheckedThrowingContinuation { continuation in
                do {
                    try inbox.add(
                        EncoderSubmission(request, cancellation, continuation), limit: 100)
                } catch {
                    continuation.resume(throwing: error)
                }
            }
        }
        while inbox.count == count { await Task.yield() }
        return task
    }

    private func expectEqual(_ got: [[Float]], _ expected: [[Float]]) {
        #expect(got.map(\.count) == expected.map(\.count))
        // The same products in fp32, of one text and of several: sums of some hundred terms in another order.
        #expect(zip(got.joined(), expected.joined()).allSatisfy { abs($0 - $1) <= 1e-5 })
    }

    @Test func `requests of an adapter share a pass, and each gets what it gets alone`()
        async throws
    {
        try await withEncoder { encoder in
            let adapters = try [nil] + (1...3).map { try adapter($0, of: encoder) }
            let requests = (0..<24).map { index in
                EncoderRequest(
                    [encoder.row(String(repeating: "ab", count: 1 + index % 7))],
                    for: index < 12 ? .vectors : .logits, adapter: adapters[index % 4])
            }
            let inbox = EncoderInbox()
            let loop = EncoderLoop(encoder, passTokens: 512, inbox: inbox)
            var tasks: [Task<EncoderOutputs, any Error>] = []
            for request in requests { tasks.append(await submit(request, to: inbox)) }
            #expect(loop.step())
            var distinct: Set<[Float]> = []
            for (task, request) in zip(tasks, requests) {
                let (rows, deltas) = (request.rows, request.adapter?.deltas)
                let alone =
                    request.output == .vectors
                    ? try encoder.embeddings(of: rows, adapter: deltas)
                    : try encoder.logits(of: rows, adapter: deltas)
                let got = try await task.value
                expectEqual(got.values, alone)
                #expect(got.queueSeconds >= 0)
                distinct.formUnion(got.values)
            }
            #expect(distinct.count == 24)
            inbox.stop(cancelling: false)
            #expect(!loop.step())
            // Four adapters, the base among them, and two kinds of output.
            #expect(inbox.statistics.steps == 8 && inbox.count == 0)
        }
    }

    @Test func `a request with many texts does not hold up the others`() async throws {
        try await withEncoder { encoder in
            let many = (0..<100).map { encoder.row(String(repeating: "x", count: 1 + $0 % 50)) }
            let inbox = EncoderInbox()
            let loop = EncoderLoop(encoder, passTokens: 128, inbox: inbox)
            let long = await submit(EncoderRequest(many, for: .vectors), to: inbox)
            let short = await submit(EncoderRequest([many[3]], for: .vectors), to: inbox)
            #expect(loop.step())
            expectEqual(
                try await short.value.values, try encoder.embeddings(of: [many[3]], adapter: nil))
            #expect(inbox.statistics.running == 2)
            inbox.stop(cancelling: false)
            while loop.step() {}
            expectEqual(try await long.value.values, try encoder.embeddings(of: many, adapter: nil))
        }
    }

    @Test func `who has gone, and who cannot be answered, holds nobody up`() async throws {
        try await withEncoder { encoder in
            let row = encoder.row("ab")
            let inbox = EncoderInbox()
            let loop = EncoderLoop(encoder, passTokens: 128, inbox: inbox)
            let cancellation = EncoderSubmission.Cancellation()
            let gone = await submit(EncoderRequest([row], for: .vectors), to: inbox, cancellation)
            // A head of half a width.
            let broken = EncoderAdapter(
                key: "broken", deltas: BrokenHead(), task: nil)
            let wrong = await submit(
                EncoderRequest([row], for: .logits, adapter: broken), to: inbox)
            let right = await submit(EncoderRequest([row], for: .logits), to: inbox)
            cancellation.cancel()
            #expect(loop.step())
            await #expect(throws: CancellationError.self) { try await gone.value }
            await #expect(throws: LorikeetError.self) { try await wrong.value }
            expectEqual(try await right.value.values, try encoder.logits(of: [row], adapter: nil))
            let late = await submit(EncoderRequest([row], for: .vectors), to: inbox)
            inbox.stop(cancelling: true)
            #expect(!loop.step())
            await #expect(throws: EngineOverload.self) {
                try await late.value
            }
        }
    }

    @Test func `a batcher answers, refuses what the model cannot read, and ends`() async throws {
        try await withEncoder { encoder in
            var options = EncoderBatcherOptions()
            options.contextLength = 8
            let batcher = EncoderBatcher(encoder, options: options)
            #expect(batcher.contextLength == 8)
            let row = encoder.row("ab")
            let answer = try await batcher.outputs(of: EncoderRequest([row], for: .vectors))
            expectEqual(answer.values, try encoder.embeddings(of: [row], adapter: nil))
            for tokens: [Int32] in [[], [256], [-1], Array(repeating: 1, count: 9)] {
                await #expect(throws: LorikeetError.self) {
                    try await batcher.outputs(
                        of: EncoderRequest(
                            [TrainingRow(inputIDs: tokens, target: nil)], for: .vectors))
                }
            }
            batcher.stop()
            await batcher.waitUntilStopped()
            await #expect(throws: EngineOverload.self) {
                try await batcher.outputs(of: EncoderRequest([row], for: .vectors))
            }
        }
    }
}

/// An adapter whose classifier has another width than the model.
private final class BrokenHead: LowRankDeltas {
    func delta(at path: ModulePath) -> LowRankDelta? { nil }
    func tensor(_ name: String) -> Buffer<Float>? { name == "classifier.weight" ? Buffer(5) : nil }
}
