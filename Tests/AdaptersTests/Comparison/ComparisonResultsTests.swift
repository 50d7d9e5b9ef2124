import Foundation
import LorikeetAdapters
import LorikeetRuntime
import TestSupport
import Testing

/// What follows from runs whose losses are known.
@Suite struct ComparisonResultsTests {
    private func run(
        _ method: MethodName, _ rate: Double, seed: UInt64, _ losses: [Double],
        heldOut: [Double] = [], failure: String? = nil
    ) throws -> ComparisonResults.Run {
        try Fixtures.withTemporaryFolder { folder in
            var rows = losses.enumerated().map { index, loss in
                "{\"step\":\(index + 1),\"loss\":\(loss),\"seconds\":\(2 * (index + 1)),\"tokens\":10,"
                    + "\"tokens_per_second\":\(seed == 0 ? 20 : 40),\"gradient_norm\":1}\n"
            }
            // At every second step.
            for (index, loss) in heldOut.enumerated().reversed() {
                rows.insert(
                    "{\"step\":\(2 * (index + 1)),\"validation_loss\":\(loss)}\n",
                    at: 2 * (index + 1))
            }
            try Data(rows.joined().utf8).write(to: URL(filePath: folder + "/metrics.jsonl"))
            return ComparisonResults.Run(
                plan: Comparison.Run(method: method, learningRate: rate, seed: seed),
                record: RunRecord(peakMemoryBytes: 1_000_000, failure: failure),
                metrics: try RunMetrics(path: folder))
        }
    }

    private func results(
        _ runs: [ComparisonResults.Run], _ methods: [MethodName], smoothing: Int = 1
    ) -> ComparisonResults {
        ComparisonResults(
            runs: runs, methods: methods, smoothing: Smoothing(over: smoothing), scoreNames: [],
            configuration: RunIdentity(["--rank": "4"]))
    }

    @Test func `the best rate has the lowest mean, and no run that failed`() throws {
        let results = results(
            [
                try run(.lora, 1e-4, seed: 0, [3, 2]), try run(.lora, 1e-4, seed: 1, [3, 1]),
                try run(.lora, 1e-3, seed: 0, [3, 1.2]), try run(.lora, 1e-3, seed: 1, [3, 1.4]),
                try run(.lora, 1e-2, seed: 0, [3, 0.1]),
                try run(.lora, 1e-2, seed: 1, [3], failure: "the loss is nan at step 2"),
            ], [.lora])
        let best = try #require(results.methods[0].best)
        #expect(best.learningRate == 1e-3)
        let loss = try #require(best.finalLoss)
        #expect(abs(loss.mean - 1.3) < 1e-12 && loss.low == 1.2 && loss.high == 1.4)
        // √(((1.2 - 1.3)² + (1.4 - 1.3)²) / 1)
        #expect(abs((loss.deviation ?? 0) - 0.02.squareRoot()) < 1e-12)
        #expect(results.methods[0].rates[2].finalLoss == nil)
        #expect(best.spread { $0.record.peakMemoryBytes.map(Double.init) }?.mean == 1e6)
    }

    @Test func `steps to the baseline's loss are counted seed by seed`() throws {
        let results = results(
            [
                try run(.lora, 1e-3, seed: 0, [9, 8, 7, 6, 5, 5]),
                try run(.lora, 1e-3, seed: 1, [9, 8, 7, 6, 5, 4]),
                try run(.reflora, 1e-3, seed: 0, [9, 7, 5, 4, 3, 2]),
                try run(.reflora, 1e-3, seed: 1, [9, 7, 5, 4, 3, 2]),
                try run(.rslora, 1e-3, seed: 0, [9, 9, 9, 9, 9, 9]),
                try run(.rslora, 1e-3, seed: 1, [9, 9, 9, 9, 9, 1]),
            ], [.rslora, .lora, .reflora])
        #expect(results.baseline == .lora)
        #expect(
            results.methods.map { results.stepsToBaseline($0) } == [[nil, 6], [5, 6], [3, 4]])
        #expect(results.stepsSaved(results.methods[0]) == nil)
        #expect(results.stepsSaved(results.methods[1]) == 0)
        // 3.5 instead of 5.5.
        #expect(abs((results.stepsSaved(results.methods[2]) ?? 0) - 2 / 5.5) < 1e-12)
    }

    @Test func `a lucky batch at the start is not believed`() throws {
        let results = results(
            [
                try run(.lora, 1e-3, seed: 0, [9, 8, 7, 6, 6, 6]),
                try run(.reflora, 1e-3, seed: 0, [1, 9, 9, 9, 9, 2]),
            ], [.lora, .reflora], smoothing: 3)
        // Smoothed over 3: 1, 6.3, 7.9, 8.5, 8.7, 5.3, of which the first two do not count.
        #expect(results.stepsToBaseline(results.methods[1]) == [6])
    }

    @Test func `runs that measured held-out rows as they went on are compared by those`() throws {
        let measured = [
            try run(.lora, 1e-3, seed: 0, [9, 8, 7, 6, 5, 4], heldOut: [8, 7, 6]),
            try run(.lora, 1e-2, seed: 0, [9, 8, 7, 6, 5, 3], heldOut: [8, 7, 7]),
            try run(.reflora, 1e-3, seed: 0, [9, 9, 9, 9, 9, 9], heldOut: [8, 5, 5]),
        ]
        let results = results(measured, [.lora, .reflora], smoothing: 3)
        #expect(results.methods[0].best?.learningRate == 1e-3)
        #expect(results.methods.map { results.stepsToBaseline($0) } == [[6], [4]])
        #expect(results.json["compared_by"] == "validation_loss")
        #expect(ComparisonReport(results: results).html.contains("the loss on held-out rows"))
        // One that did not, or only at its end, is of the training loss, and so are all.
        for heldOut in [[], [5.0]] {
            let other = try run(
                .reflora, 1e-2, seed: 0, [9, 9, 9, 9, 9, 3], heldOut: heldOut)
            let results = self.results(measured + [other], [.lora, .reflora])
            #expect(results.methods[0].best?.learningRate == 1e-2)
            #expect(results.json["compared_by"] == "loss")
        }
    }

    @Test func `the page and the JSON hold what was found, and nothing from elsewhere`() throws {
        let results = results(
            [
                try run(.lora, 1e-3, seed: 0, [9, 8, 7]), try run(.lora, 1e-3, seed: 1, [9, 8, 6]),
                try run(.lora, 1e-2, seed: 0, [9, 8, 8]), try run(.lora, 1e-2, seed: 1, [9, 8, 8]),
                try run(.reflora, 1e-3, seed: 0, [9, 6, 5]),
                try run(.reflora, 1e-3, seed: 1, [9, 6, 5]),
                try run(.reflora, 1e-2, seed: 0, [9, 7, 7]),
                try run(.reflora, 1e-2, seed: 1, [9], failure: "<nan>"),
            ], [.lora, .reflora])
        let page = ComparisonReport(results: results).html
        for text in [
            "Training loss over steps", "Training loss over time",
            "Last loss at each learning rate",
            "Gradient norm", "6.5000 (6.0000–7.0000)", "&lt;nan&gt;", "--rank", "class=\"band",
        ] { #expect(page.contains(text), "\(text)") }
        #expect(!page.contains("Condition of S") && !page.contains("Validation loss"))
        let links = page.replacingOccurrences(of: "http://www.w3.org/2000/svg", with: "")
        for word in ["http", "<script", "src=", "@import", "<nan>"] {
            #expect(!links.contains(word), "\(word)")
        }
        let json = results.json
        #expect(json["baseline"] == "lora")
        let reflora = try #require(json["methods"]?.array?[1])
        #expect(reflora["best_learning_rate"]?.double == 1e-3)
        #expect(reflora["steps_to_baseline_loss"]?.array?.map(\.int) == [2, 2])
        #expect(reflora["learning_rates"]?.array?[1]["final_loss"] == .null)
        let step = reflora["learning_rates"]?.array?[0]["step_seconds"]
        #expect(step?["low"]?.double == 0.25 && step?["high"]?.double == 0.5)
        #expect(try JSON(parsing: json.text(pretty: true), source: "report.json") == json)
    }
}
