import Foundation
import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime
import TestSupport
import Testing

@Suite struct DirectPreferenceTests {
    /// A model whose rows have given losses, and that keeps the weights it is asked for.
    private final class Fixed: LossAndGradients {
        let (policy, reference): ([Double], [Double])
        private(set) var weights: [Float] = []

        init(policy: [Double], reference: [Double]) {
            (self.policy, self.reference) = (policy, reference)
        }

        func accumulate(
            _ rows: [TrainingRow], adapter: any TrainableLowRankDeltas, lossScale: Float
        ) throws -> (loss: Double, targets: Int) { (0, 0) }

        func evaluate(
            _ rows: [TrainingRow], adapter: any LowRankDeltas
        ) throws -> (loss: Double, targets: Int) { (0, 0) }

        func accumulate(
            _ rows: [TrainingRow], adapter: any TrainableLowRankDeltas,
            weights: ([Double]) -> [Float]
        ) throws { self.weights = weights(policy) }

        func losses(of rows: [TrainingRow], adapter: any LowRankDeltas) throws -> [Double] {
            reference
        }
    }

    private func compare(
        _ policy: [Double], to reference: [Double], beta: Double, labelSmoothing: Double = 0
    ) throws -> (sum: ObjectiveSum, weights: [Float]) {
        let model = Fixed(policy: policy, reference: reference)
        let rows = Array(ToyModel.rows[..<policy.count])
        let sum = try DirectPreference(beta: beta, labelSmoothing: labelSmoothing).accumulate(
            rows, adapter: ToyModel.adapter(scale: 2), on: model, count: policy.count / 2)
        return (sum, model.weights)
    }

    @Test func `loss, rewards and weights are those computed by hand`() throws {
        // Rewards ½ (4 − 3) = 0.5 and ½ (4.5 − 5) = −0.25, z = 0.75; then 0 and 0.5, z = −0.5.
        let (sum, weights) = try compare([3, 5, 2, 6], to: [4, 4.5, 2, 7], beta: 0.5)
        let expected = log(1 + exp(-0.75)) + log(1 + exp(0.5))
        #expect(abs(sum.loss - expected) < 1e-15)
        let preferences = try #require(sum.preferences)
        #expect(preferences.chosenReward == 0.25 && preferences.rejectedReward == 0.125)
        #expect(preferences.margin == 0.125 && preferences.accuracy == 0.5)
        // β σ(−z) / 2 pairs, rounded to fp32.
        let (first, second) = (0.25 / (1 + exp(0.75)), 0.25 / (1 + exp(-0.5)))
        GradientCheck.expectClose(weights, [first, -first, second, -second], within: 1e-7)
    }

    @Test(arguments: [0, 0.1, 0.4], [0.1, 2.0])
    func `weights are the loss's derivatives in the rows' losses`(
        labelSmoothing: Double, beta: Double
    ) throws {
        let reference = [4, 4.5, 2, 7, 900, 900]
        // The last pair's exponential would overflow a naive log(1 + eᶻ).
        for policy in [[3, 5, 2, 6, 1, 1700], [3.5, 4, 8, 1, 1700, 1]] {
            let (_, weights) = try compare(
                policy, to: reference, beta: beta, labelSmoothing: labelSmoothing)
            let expected = GradientCheck.centralDifferences(at: policy) { policy in
                let sum = try? compare(
                    policy, to: reference, beta: beta, labelSmoothing: labelSmoothing
                ).sum
                return (sum?.loss ?? .nan) / 3
            }
            // Differences of a loss near 1,000 lose 1e-13 / 1e-5.
            GradientCheck.expectClose(weights, expected, within: 1e-6)
        }
    }

    @Test func `gradients are those of the objective in the factors`() throws {
        let objective = DirectPreference(beta: 0.3, labelSmoothing: 0.1)
        let adapter = ToyModel.adapter(scale: 2)
        for module in adapter.modules {
            let b = ToyModel.matrix(module.outputSize, ToyModel.rank, salt: 7, size: 0.2)
            _ = module.delta.b.elements.update(from: b.elements.map { Float($0) })
        }
        let rows = Array(ToyModel.rows[..<6])
        func loss() throws -> Double {
            try objective.accumulate(rows, adapter: adapter, on: ToyModel(), count: 3).loss / 3
        }
        adapter.zeroGradients()
        _ = try loss()
        let gradients = adapter.modules.flatMap { [$0.gradient.a.array, $0.gradient.b.array] }
        let factors = adapter.modules.flatMap { [$0.delta.a, $0.delta.b] }
        // The factors are fp32: a step of 2⁻¹⁰ is exact to 2⁻¹⁴ of itself, and its square is 1e-6.
        let step: Float = 0x1p-10
        for (factor, gradient) in zip(factors, gradients) {
            let differences = try (0..<factor.count).map { i in
                let middle = factor[i]
                factor[i] = middle + step
                let (above, width) = (try loss(), Double(factor[i]))
                factor[i] = middle - step
                let (below, start) = (try loss(), Double(factor[i]))
                factor[i] = middle
                return (above - below) / (width - start)
            }
            #expect(gradient.contains { abs($0) > 1e-3 })
            GradientCheck.expectClose(gradient, differences, within: 1e-5)
        }
    }

    private func options() -> TrainingOptions {
        var options = TrainingOptions()
        options.objective = .directPreference
        options.method = .lora
        options.learningRate = 0.02
        options.length = .steps(12)
        options.batchSize = 2
        return options
    }

    private func train(_ options: TrainingOptions) throws -> [StepMetrics] {
        var steps: [StepMetrics] = []
        try Trainer(ToyModel.pairs, options: options).run(
            ToyModel(), adapter: ToyModel.adapter(scale: 2), compute: Compute(threads: 1)
        ) {
            steps.append($0)
            return .proceed
        }
        return steps
    }

    @Test func `a run begins at log 2 and prefers what was chosen`() throws {
        let steps = try train(options())
        let first = try #require(steps.first)
        // B is zero: both models are one, to the last bit.
        #expect(first.loss == log(2))
        #expect(first.preferences?.chosenReward == 0 && first.preferences?.accuracy == 0)
        let last = try #require(steps.last)
        #expect(last.loss < log(2))
        #expect((last.preferences?.margin ?? 0) > 0)
        for name in ["chosen", "rejected", "margins", "accuracies"] {
            #expect(last.json["rewards/\(name)"]?.double != nil, "\(name)")
        }
        #expect(last.json["rewards/accuracies"]?.double == 1)
    }

    @Test func `accumulation and epochs count pairs`() throws {
        var (whole, parts) = (options(), options())
        (whole.length, parts.length) = (.epochs(2), .epochs(2))
        (parts.batchSize, parts.accumulate) = (1, 2)
        let (a, b) = (try train(whole), try train(parts))
        // Five pairs twice, two a step.
        #expect(a.count == 5 && b.count == 5)
        for (a, b) in zip(a, b) {
            // The same numbers added in the same order, but for where they are scaled.
            #expect(abs(a.loss / b.loss - 1) < 1e-6)
            #expect(a.tokens == b.tokens)
        }
    }

    @Test func `options out of range are refused by their flags`() {
        func subject(_ change: (inout TrainingOptions) -> Void) -> String? {
            var options = options()
            change(&options)
            do { _ = try train(options) } catch { return (error as? LorikeetError)?.subject }
            return nil
        }
        #expect(subject { $0.beta = 0 } == "--beta")
        #expect(subject { $0.regularization.labelSmoothing = 0.5 } == "--label-smoothing")
        #expect(subject { $0.regularization.labelSmoothing = 0.4 } == nil)
    }

    // MARK: Data

    private func read(
        _ text: String, maximumLength: Int = 1000, hasTemplate: Bool = true
    ) throws -> TrainingData {
        let path = NSTemporaryDirectory() + "preferences-\(UUID().uuidString).jsonl"
        try text.write(toFile: path, atomically: false, encoding: .utf8)
        defer { try? FileManager.default.removeItem(atPath: path) }
        let template = try ChatTemplate(
            source: TrainingDataTests.chatML, name: "template", beginningOfText: nil, endOfText: nil
        )
        return try TrainingData(
            preferences: path, tokenizer: TrainingDataTests.byteTokenizer(),
            chatTemplate: hasTemplate ? template : nil, maximumLength: maximumLength)
    }

    /// The text of a row's targets.
    private func targets(_ row: TrainingRow) throws -> String {
        let ids = row.labels.filter { $0 != TrainingRow.masked }
        return try TrainingDataTests.byteTokenizer().decode(ids)
    }

    @Test func `answers are the targets, chosen first`() throws {
        let data = try read(
            #"{"prompt": "2+2=", "chosen": "4", "rejected": "five"}"# + "\n\n"
                + #"{"prompt": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, "#
                + #"{"role": "user", "content": "c"}], "chosen": [{"role": "assistant", "content": "d"}], "#
                + #""rejected": [{"role": "assistant", "content": "e"}]}"#)
        // The assistant's turn in the prompt is no target.
        let expected = ["4<|end|>", "five<|end|>", "d<|im_end|>", "e<|im_end|>"]
        let rows = try (0..<data.rows.count).flatMap { try data.rows.example(at: $0) }
        #expect(try rows.map(targets) == expected)
        #expect(data.report.file.rows == 2 && data.report.file.cutOffRows == 0)
        #expect(data.rows.name(of: 1).hasSuffix("line 3"))
    }

    @Test func `pairs are cut at the length, and left out where an answer is cut away`() throws {
        let data = try read(
            """
            {"prompt": "abc", "chosen": "d", "rejected": "defg"}
            {"prompt": "abcdef", "chosen": "g", "rejected": "h"}
            """, maximumLength: 5)
        #expect(data.rows.count == 1)
        #expect(try data.rows.example(at: 0).map(\.inputIDs.count) == [5, 5])
        #expect(data.rows.tokenCount(at: 0) == 10)
        let file = data.report.file
        #expect(file.rows == 2 && file.truncatedRows == 1 && file.cutOffRows == 1)
    }

    @Test(arguments: [
        ("{\"prompt\": \"a\", \"chosen\": \"b\"}", "line 1", "no preference"),
        ("\n[1]", "line 2", "no preference"),
        ("{\"prompt\": \"a\", \"chosen\": \"b\", \"rejected\": []}", "line 1", "different kinds"),
        ("{\"prompt\": 1, \"chosen\": 2, \"rejected\": 3}", "line 1", "different kinds"),
        ("{\"prompt\": [], \"chosen\": [5], \"rejected\": []}", "line 1", "no object"),
        ("", ".jsonl", "empty"),
        ("{\"prompt\": [], \"chosen\": [], \"rejected\": []}", ".jsonl", "nothing to learn"),
    ])
    func `bad input names its line`(text: String, place: String, problem: String) throws {
        let error = #expect(throws: LorikeetError.self) { try read(text) }
        #expect(error?.subject.hasSuffix(place) == true, "\(error as Any)")
        #expect(error?.problem.contains(problem) == true, "\(error as Any)")
    }

    @Test func `messages need a template`() throws {
        let error = #expect(throws: LorikeetError.self) {
            try read("{\"prompt\": [], \"chosen\": [], \"rejected\": []}", hasTemplate: false)
        }
        #expect(error?.problem.contains("no chat template") == true)
    }
}
