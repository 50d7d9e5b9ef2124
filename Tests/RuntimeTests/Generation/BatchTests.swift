import Foundation
import LorikeetQuant
import LorikeetRuntime
import TestSupport
import Testing

/// Several sequences at once give what each of them gives alone.
@Suite struct BatchTests {
    private static let precisions = [Precision.fp32, .int16]
    /// On logits near 10: the same sums in another order; below fp32 a last bit of the keys and values
    /// decides how a half is rounded, which is 5e-4 of it, and of the last activations how an integer is.
    private func tolerance(_ precision: Precision) -> Float { precision == .fp32 ? 1e-4 : 2e-2 }

    private func withModel<Result>(
        _ precision: Precision, _ body: (LanguageModel) throws -> Result
    ) throws -> Result {
        try Fixtures.withTemporaryFolder { folder in
            try TinyLanguageModel.write(to: folder + "/model")
            return try body(
                LanguageModel(
                    path: folder + "/model", compute: Compute(threads: 2, precision: precision)))
        }
    }

    private func tokens(_ count: Int, salt: Int) -> [Int32] {
        (0..<count).map { Int32(($0 * 7919 + 31 * salt + 11) % 256) }
    }

    /// log softmax(z)[token] in fp64.
    private func logProbability(_ z: some Collection<Float>, _ token: Int32) -> Double {
        let z = z.map(Double.init)
        return z[Int(token)] - log(z.reduce(0) { $0 + exp($1) })
    }

    // Pasts of no, a few and more than 256 positions, where attention is divided; new tokens that are
    // one, some, and more than a chunk.
    @Test(arguments: precisions, [7, 512])
    func `logits of a batch`(precision: Precision, chunk: Int) throws {
        try withModel(precision) { model in
            let pass = InferencePass(model: model.model, compute: model.compute, chunk: chunk)
            let shapes = [(0, 3), (300, 1), (5, 1), (9, 20), (600, 1), (0, 1)]
            let pasts = shapes.enumerated().map { tokens($1.0, salt: $0) }
            let news = shapes.enumerated().map { tokens($1.1, salt: 100 + $0) }
            func caches() throws -> [KVCache] {
                try pasts.map { past in
                    let cache = pass.makeCache()
                    if !past.isEmpty { _ = try pass.forward(past, cache: cache, adapter: nil) }
                    return cache
                }
            }
            let alone = try zip(news, caches()).map { new, cache in
                Array(try pass.forward(new, cache: cache, adapter: nil))
            }
            let together = Array(
                try pass.forward(
                    zip(news, caches()).map { InferencePass.Input($0, after: $1) }))
            #expect(together.count == shapes.count * 256)
            for (i, expected) in alone.enumerated() {
                let worst = zip(together[i * 256..<(i + 1) * 256], expected).map { abs($0 - $1) }
                    .max()
                #expect(try #require(worst) <= tolerance(precision), "sequence \(i)")
            }
        }
    }

    @Test(arguments: precisions)
    func `a batch with a bad sequence leaves every cache as it was`(precision: Precision) throws {
        try withModel(precision) { model in
            let pass = InferencePass(model: model.model, compute: model.compute)
            let (good, full) = (pass.makeCache(), pass.makeCache(capacity: 2))
            for bad: [Int32] in [[], [256], [1, 2, 3]] {
                #expect(throws: LorikeetError.self) {
                    try pass.forward([.init([1, 2], after: good), .init(bad, after: full)])
                }
            }
            #expect(good.count == 0 && full.count == 0)
        }
    }

    // More questions than caches, in turn; continuations that share nothing, some, all but the end, and
    // one that begins another.
    @Test(arguments: precisions)
    func `likelihoods are those of the softmax of forward`(precision: Precision) throws {
        try withModel(precision) { model in
            let questions = [
                (12, ["true", "false"]), (40, ["answer1", "answer2", "answer3"]),
                (12, ["a", "ab", "abc"]), (300, ["x", "yz"]),
            ].enumerated().map { index, shape in
                LikelihoodScorer.Question(
                    prompt: tokens(shape.0, salt: index / 2),
                    continuations: shape.1.map { $0.utf8.map(Int32.init) })
            }
            let scorer = LikelihoodScorer(model, adapter: nil, sequences: 2)
            let scores =
                try scorer.logLikelihoods(of: Array(questions[..<2]))
                + scorer.logLikelihoods(of: Array(questions[2...]))
            let pass = InferencePass(model: model.model, compute: model.compute)
            for (question, scores) in zip(questions, scores) {
                for (continuation, score) in zip(question.continuations, scores) {
                    let cache = pass.makeCache()
                    let whole = question.prompt + continuation
                    let logits = try pass.forward(whole, cache: cache, adapter: nil, logits: .all)
                    let expected = continuation.indices.reduce(0.0) { sum, i in
                        let row = question.prompt.count + i - 1
                        return sum
                            + logProbability(
                                logits[row * 256..<(row + 1) * 256], continuation[i])
                    }
                    // Up to seven logarithms, each within 1e-4.
                    #expect(abs(score - expected) <= 1e-3, "\(score), \(expected)")
                }
            }
        }
    }

    @Test func `likelihoods of rows are the loss of training`() throws {
        try withModel(.fp32) { model in
            let rows = [9, 33, 20].enumerated().map { index, count in
                let ids = tokens(count, salt: index / 2)
                var labels = ids
                for i in 0..<4 + index { labels[i] = TrainingRow.masked }
                return TrainingRow(inputIDs: ids, labels: labels)
            }
            let scores = try LikelihoodScorer(model, adapter: nil, sequences: 3)
                .logLikelihoods(of: rows)
            let training = TrainingPass(
                model: model.model, compute: model.compute, maximumTokens: 64,
                recomputesBlocks: false)
            for (row, score) in zip(rows, scores) {
                let loss = try training.evaluate([row], adapter: TestAdapter([:])).loss
                // Some thirty losses near 10, each within 1e-4.
                #expect(abs(loss + score) <= 3e-3)
            }
        }
    }

    @Test(arguments: precisions, [1, 3])
    func `greedy answers are those of one prompt at a time`(
        precision: Precision, sequences: Int
    ) throws {
        try withModel(precision) { model in
            let requests = (0..<7).map { i in
                BatchGenerator.Request(
                    prompt: tokens(3 + 5 * (i % 4), salt: i / 2), maximumTokens: 4 + i)
            }
            let expected = try requests.map { request in
                var one = GenerationRequest(prompt: request.prompt)
                one.maximumTokens = request.maximumTokens
                return try TextGenerator(model).generate(one).text
            }
            var answers = [String?](repeating: nil, count: requests.count)
            try BatchGenerator(model, sequences: sequences).generate(requests, adapter: nil) {
                #expect(answers[$0] == nil)
                answers[$0] = $1
                return true
            }
            #expect(answers == expected)
        }
    }

    @Test func `an answer that is complete ends, and so does a run that is stopped`() throws {
        try withModel(.fp32) { model in
            let requests = (0..<5).map { i in
                BatchGenerator.Request(prompt: tokens(4, salt: i), maximumTokens: 50)
            }
            var answers: [String] = []
            try BatchGenerator(model, sequences: 2).generate(
                requests, adapter: nil, isComplete: { $1.utf8.count >= 3 }
            ) { _, text in
                answers.append(text)
                return answers.count < 3
            }
            #expect(answers.count == 3)
            // The last token releases four bytes at most, each a U+FFFD of three if it is no text.
            #expect(answers.allSatisfy { $0.utf8.count < 3 + 12 })
        }
    }

    // Cuts before and behind a part of 256 positions, a page of 64, a tile of 64 rows; single rows.
    @Test(arguments: [Precision.fp32, .int16, .int8])
    func `how a prompt is cut changes no bit`(precision: Precision) throws {
        try Fixtures.withTemporaryFolder { folder in
            try TinyLanguageModel.write(to: folder + "/model")
            let model = try LanguageModel(
                path: folder + "/model",
                compute: Compute(threads: 2, precision: precision, isBatchInvariant: true))
            let pass = InferencePass(model: model.model, compute: model.compute)
            let prompt = tokens(701, salt: 5)
            func logits(_ cuts: [Int]) throws -> [Float] {
                let cache = pass.makeCache()
                var logits: [Float] = []
                for (begin, end) in zip([0] + cuts, cuts + [prompt.count]) {
                    logits = Array(
                        try pass.forward(Array(prompt[begin..<end]), cache: cache, adapter: nil))
                }
                return logits
            }
            let whole = try logits([])
            for cuts in [[256], [257], [1], [64, 300], [255, 256, 257], [700], [640, 700]] {
                #expect(try logits(cuts) == whole, "cut at \(cuts)")
            }
        }
    }
}
