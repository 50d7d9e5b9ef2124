import Foundation
import LorikeetAdapters
import LorikeetRuntime
import TestSupport
import Testing

@Suite struct RunMetricsTests {
    private func metrics(_ text: String) throws -> RunMetrics {
        try Fixtures.withTemporaryFolder { folder in
            try Data(text.utf8).write(to: URL(filePath: folder + "/metrics.jsonl"))
            return try RunMetrics(path: folder)
        }
    }

    @Test func `values are read over steps, seconds and tokens`() throws {
        let run = try metrics(
            """
            {"step":1,"loss":3,"tokens":10,"seconds":0.5,"note":"text is passed over"}
            {"step":2,"loss":null,"tokens":20,"seconds":1}
            {"step":2,"validation_loss":2.5}

            {"step":3,"loss":2,"tokens":30,"seconds":1.5,"condition_number":7}
            """)
        #expect(run.points("loss").map(\.x) == [1, 2, 3])
        #expect(run.points("loss", over: .seconds).map(\.x) == [0.5, 1, 1.5])
        #expect(run.points("loss", over: .tokens).map(\.x) == [10, 30, 60])
        #expect(run.values("loss")[1].isNaN && run.values("loss")[2] == 2)
        #expect(run.points("validation_loss", over: .tokens) == [.init(30, 2.5)])
        #expect(run.points("condition_number") == [.init(3, 7)])
        #expect(run.points("note").isEmpty)
        #expect(
            run.keys == [
                "condition_number", "loss", "seconds", "tokens", "validation_loss",
            ])
    }

    @Test(arguments: [
        ("{\"step\":1,\"loss\":2}\nno json\n", "line 2"), ("[1]\n", "line 1"),
        ("{\"loss\":2}\n", "line 1"), ("{\"step\":0,\"loss\":1}", "line 1"),
        ("{\"step\":1.5,\"loss\":1}", "line 1"), ("{\"step\":99999999999,\"loss\":1}", "line 1"),
        ("\n\n{\"step\":2,\"loss\":1}\n{\"step\":2,\"loss\":1}\n", "line 4"),
        ("{\"step\":2,\"loss\":1}\n{\"step\":1,\"validation_loss\":1}\n", "line 2"),
        ("{\"step\":1,\"loss\":1,\"loss\":2}\n", "line 1"), ("\n", "rows"), ("", "rows"),
        ("{\"step\":1,\"loss\":\u{0}}", "line 1"), (String(repeating: "[", count: 9999), "line 1"),
    ])
    func `a line that is no row is named`(text: String, word: String) throws {
        let error = #expect(throws: LorikeetError.self) { try metrics(text) }
        #expect(error?.code == .malformed)
        #expect(error?.description.contains("metrics.jsonl") == true)
        #expect(error?.description.contains(word) == true, "\(String(describing: error))")
    }

    @Test func `a run that is not there is named`() {
        let error = #expect(throws: LorikeetError.self) { try RunMetrics(path: "/nowhere/run") }
        #expect(error?.code == .notFound)
    }

    @Test func `seconds become minutes and hours`() throws {
        for (seconds, unit, last) in [
            (60.0, "seconds", 60.0), (600, "minutes", 10), (9000, "hours", 2.5),
        ] {
            let run = try metrics(
                "{\"step\":1,\"loss\":1,\"seconds\":1}\n{\"step\":2,\"loss\":1,\"seconds\":\(seconds)}"
            )
            let chart = try #require(
                RunCharts.chart("loss", of: [("run", run)], over: .seconds))
            #expect(chart.x.label == unit)
            #expect(chart.series[0].points.last?.x == last)
        }
        let run = try metrics("{\"step\":1,\"loss\":1}")
        #expect(RunCharts.chart("no_key", of: [("run", run)]) == nil)
    }
}
