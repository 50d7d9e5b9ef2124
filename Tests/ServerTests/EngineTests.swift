import Dispatch
import LorikeetQuant
import LorikeetRuntime
import LorikeetServer
import TestSupport
import Testing

/// A batch of requests that join and leave gives each the answer that it gets alone.
@Suite struct EngineTests {
    private func withModel<Result>(
        _ precision: Precision = .int16, _ body: (LanguageModel) async throws -> Result
    ) async throws -> Result {
        try await Fixtures.withTemporaryFolder { folder in
            try TinyLanguageModel.write(to: folder + "/model")
            return try await body(
                LanguageModel(
                    path: folder + "/model",
                    compute: Compute(threads: 2, precision: precision, isBatchInvariant: true)))
        }
    }

    private func tokens(_ count: Int, salt: Int) -> [Int32] {
        (0..<count).map { Int32(($0 * 7919 + 31 * salt + 11) % 256) }
    }

    private func adapter(_ salt: Int, rank: Int, of model: LanguageModel) -> EngineAdapter {
        let deltas = deltas(salt, rank: rank, of: model)
        return EngineAdapter(
            key: "\(salt) \(rank)",
            deltas: PackedDeltas(deltas, for: model.model.configuration, on: model.compute))
    }

    private func deltas(_ salt: Int, rank: Int, of model: LanguageModel) -> TestAdapter {
        let configuration = model.model.configuration
        var deltas: [ModulePath: LowRankDelta] = [:]
        for layer in 0..<configuration.layerCount {
            for module in LinearModule.llama {
                let (outputs, inputs) = module.shape(in: configuration)
                let seed = UInt64(100 * salt + 10 * layer) + UInt64(module.name.count)
                deltas[ModulePath(layer: layer, module: module)] = LowRankDelta(
                    a: noise(rank * inputs, seed: seed), b: noise(rank * outputs, seed: seed + 1),
                    rank: rank, scale: 0.2)
            }
        }
        return TestAdapter(deltas)
    }

    private func request(
        _ count: Int, salt: Int, maximumTokens: Int = 20, adapter: EngineAdapter? = nil,
        temperature: Float = 0
    ) -> EngineRequest {
        var request = EngineRequest(prompt: tokens(count, salt: salt))
        request.maximumTokens = maximumTokens
        request.ignoresEndTokens = true
        request.adapter = adapter
        request.sampling.temperature = temperature
        request.sampling.seed = UInt64(salt)
        return request
    }

    private struct Answer: Equatable {
        var tokens: [Int32] = []
        var text = ""
        var result: EngineResult?

        static func == (a: Answer, b: Answer) -> Bool { a.tokens == b.tokens && a.text == b.text }
    }

    private func answer(_ stream: AsyncStream<EngineEvent>) async throws -> Answer {
        var answer = Answer()
        for await event in stream {
            switch event {
            case .started, .prompt: break
            case .token(let choice, let text):
                answer.tokens.append(choice.token)
                answer.text += text
            case .finished(let result):
                answer.text += result.text
                answer.result = result
            case .failed(let error): throw error
            }
        }
        return answer
    }

    private func answers(
        _ requests: [EngineRequest], _ engine: Engine
    ) async throws -> [Answer] {
        let streams = try requests.map { try engine.submit($0) }
        var answers: [Answer] = []
        for stream in streams { answers.append(try await answer(stream)) }
        return answers
    }

    /// What a request gets where nothing else runs and nothing is cached, up to its first end token.
    private func alone(_ request: EngineRequest, _ model: LanguageModel) throws -> Answer {
        var alone = GenerationRequest(prompt: request.prompt)
        alone.maximumTokens = request.maximumTokens ?? 256
        alone.sampling = request.sampling
        var answer = Answer()
        let adapter = request.adapter.map { adapter in
            let numbers = adapter.key.split(separator: " ").compactMap { Int($0) }
            return deltas(numbers[0], rank: numbers[1], of: model)
        }
        let generation = try TextGenerator(model).generate(alone, adapter: adapter)
        answer.tokens = generation.choices.map(\.token)
        answer.text = generation.text
        return answer
    }

    /// Holds the engine's thread between two steps, until the result is signalled.
    private func hold(_ engine: Engine) async throws -> DispatchSemaphore {
        let gate = DispatchSemaphore(value: 0)
        let (held, isHeld) = AsyncStream.makeStream(of: Void.self)
        Task {
            try await engine.perform { _ in
                isHeld.finish()
                gate.wait()
            }
        }
        for await _ in held {}
        return gate
    }

    private func mixedRequests(_ model: LanguageModel) -> [EngineRequest] {
        let adapters = [nil, adapter(1, rank: 4, of: model), adapter(2, rank: 16, of: model)]
        let lengths = [1, 5, 63, 64, 65, 130, 300, 600, 20]
        return lengths.enumerated().map { index, length in
            request(
                length, salt: index, adapter: adapters[index % adapters.count],
                temperature: index % 2 == 0 ? 0 : 1.5)
        }
    }

    @Test(arguments: [Precision.int16, .fp32])
    func `answers of a mixed batch are those of each alone`(precision: Precision) async throws {
        try await withModel(precision) { model in
            let engine = Engine(model)
            let requests = mixedRequests(model)
            let together = try await answers(requests, engine)
            for (request, answer) in zip(requests, together) {
                let expected = try alone(request, model)
                #expect(
                    answer.tokens.starts(with: expected.tokens),
                    "a prompt of \(request.prompt.count) tokens")
                #expect(answer.text.hasPrefix(expected.text))
                #expect(answer.tokens.count == 20)
            }
        }
    }

    @Test func `what was computed before is not computed again, for the same adapter alone`()
        async throws
    {
        try await withModel { model in
            let engine = Engine(model)
            let one = adapter(1, rank: 4, of: model)
            let first = try await answers([request(200, salt: 1, adapter: one)], engine)[0]
            #expect(first.result?.cachedTokens == 0)
            let again = try await answers([request(200, salt: 1, adapter: one)], engine)[0]
            #expect(again == first)
            #expect(again.result?.cachedTokens == 192)
            let base = try await answers([request(200, salt: 1)], engine)[0]
            #expect(base.result?.cachedTokens == 0)
            #expect(base.tokens.starts(with: try alone(request(200, salt: 1), model).tokens))
            // Of another prompt that begins alike, the pages in which it does.
            var other = request(200, salt: 1, adapter: one)
            other.prompt[150] += 1
            let third = try await answers([other], engine)[0]
            #expect(third.result?.cachedTokens == 128)
            #expect(third.tokens.starts(with: try alone(other, model).tokens))
        }
    }

    @Test func `where memory is short, requests wait or are set back, and get the same answers`()
        async throws
    {
        try await withModel { model in
            var options = EngineOptions()
            let page = KVPool(model.model.configuration, precision: .int16).pageBytes
            options.cacheBytes = 14 * page
            let engine = Engine(model, options: options)
            #expect(engine.contextLength == 14 * KVPool.positions)
            let requests = (0..<6).map {
                request(100, salt: $0, maximumTokens: 200, temperature: 0.8)
            }
            let together = try await answers(requests, engine)
            for (request, answer) in zip(requests, together) {
                #expect(answer == (try await answers([request], Engine(model))[0]))
            }
            let statistics = engine.statistics
            #expect(statistics.preemptions > 0)
            #expect(statistics.running == 0 && statistics.waiting == 0)
        }
    }

    @Test func `a request that nobody waits for leaves the batch`() async throws {
        try await withModel { model in
            var options = EngineOptions()
            options.runningLimit = 1
            let engine = Engine(model, options: options)
            let gate = try await hold(engine)
            var long: AsyncStream? = try engine.submit(request(10, salt: 1, maximumTokens: 900))
            withExtendedLifetime(long) {}
            long = nil
            let next = try engine.submit(request(10, salt: 2))
            gate.signal()
            #expect(try await answer(next).tokens.count == 20)
            #expect(engine.statistics.generatedTokens == 20)
        }
    }

    @Test func `a request that is left while it runs leaves the batch too`() async throws {
        try await withModel { model in
            let engine = Engine(model)
            do {
                let long = try engine.submit(request(10, salt: 1, maximumTokens: 1000))
                for await event in long { if case .token = event { break } }
            }
            engine.stop()
            await engine.waitUntilStopped()
            #expect(engine.statistics.running == 0)
        }
    }

    @Test func `past the limit of those that wait, requests are refused`() async throws {
        try await withModel { model in
            var options = EngineOptions()
            (options.runningLimit, options.waitingLimit) = (1, 2)
            let engine = Engine(model, options: options)
            let gate = try await hold(engine)
            var streams: [AsyncStream<EngineEvent>] = []
            var refusal: EngineOverload?
            for salt in 0..<5 {
                do {
                    streams.append(
                        try engine.submit(request(10, salt: salt, maximumTokens: 500)))
                } catch let error as EngineOverload {
                    refusal = error
                }
            }
            #expect(refusal?.reason == .full)
            #expect(refusal?.retryAfter ?? 0 >= 1)
            #expect(streams.count == 3)
            gate.signal()
            for stream in streams { #expect(try await answer(stream).tokens.count == 500) }
        }
    }

    @Test func `an engine that stops finishes what it has and takes no more`() async throws {
        try await withModel { model in
            let engine = Engine(model)
            let stream = try engine.submit(request(10, salt: 1))
            engine.stop()
            #expect(throws: EngineOverload.self) { try engine.submit(request(10, salt: 2)) }
            #expect(try await answer(stream).tokens.count == 20)
            await engine.waitUntilStopped()
        }
    }

    @Test func `an engine that is cancelled gives up what it has`() async throws {
        try await withModel { model in
            let engine = Engine(model)
            let stream = try engine.submit(request(10, salt: 1, maximumTokens: 1000))
            engine.stop(cancelling: true)
            #expect(try await answer(stream).result?.finishReason == .cancelled)
            await engine.waitUntilStopped()
        }
    }

    @Test func `no adapter starves behind another's many requests`() async throws {
        try await withModel { model in
            var options = EngineOptions()
            options.runningLimit = 1
            let engine = Engine(model, options: options)
            let busy = adapter(1, rank: 4, of: model)
            let gate = try await hold(engine)
            let many = try (0..<20).map { salt in
                try engine.submit(request(30, salt: salt, adapter: busy))
            }
            let other = try engine.submit(
                request(30, salt: 50, adapter: adapter(2, rank: 4, of: model)))
            gate.signal()
            let wait = try await answer(other).result?.queueSeconds ?? .infinity
            var earlier = 0
            for stream in many where try await answer(stream).result?.queueSeconds ?? 0 < wait {
                earlier += 1
            }
            #expect(earlier <= 1)
        }
    }

    @Test func `bad requests are refused before they wait`() async throws {
        try await withModel { model in
            let engine = Engine(model)
            for prompt in [[], [256], [-1], tokens(1024, salt: 1)] {
                #expect(throws: LorikeetError.self) {
                    try engine.submit(EngineRequest(prompt: prompt))
                }
            }
            let stopped = try engine.submit(request(5, salt: 1, maximumTokens: 0))
            let answer = try await answer(stopped)
            #expect(answer.tokens.isEmpty && answer.result?.finishReason == .length)
        }
    }

    @Test func `a job runs between two steps`() async throws {
        try await withModel { model in
            let engine = Engine(model)
            let stream = try engine.submit(request(10, salt: 1, maximumTokens: 100))
            let layers = try await engine.perform { $0.model.configuration.layerCount }
            #expect(layers == 2)
            #expect(try await answer(stream).tokens.count == 100)
        }
    }
}
