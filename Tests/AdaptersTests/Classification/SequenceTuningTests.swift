import Foundation
import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime
import TestSupport
import Testing

@Suite struct `Tuning of an encoder` {
    private let folder = FileManager.default.temporaryDirectory.appending(
        path: "sequence-\(UUID().uuidString)"
    ).path(percentEncoded: false)

    init() throws {
        try FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: true)
    }

    private func encoder(_ name: String) throws -> TextEncoder {
        let path = "\(folder)/\(name)"
        if !FileManager.default.fileExists(atPath: path) {
            try TinyTextEncoder.write(name, to: path)
        }
        return try TextEncoder(path: path, compute: Compute(threads: 1, precision: .fp32))
    }

    private func table(_ count: Int, _ name: String, seed: UInt64 = 1) throws -> String {
        let path = "\(folder)/\(name)"
        try Data(TinyTextEncoder.table(count, seed: seed).utf8).write(to: URL(filePath: path))
        return path
    }

    private func tuning(_ label: String, method: MethodName, steps: Int) throws -> SequenceTuning {
        var tuning = SequenceTuning(columns: .init(texts: ["text"], label: label))
        tuning.tuning.rank = 2
        tuning.tuning.training.method = method
        tuning.tuning.training.length = .steps(steps)
        tuning.tuning.training.batchSize = 16
        tuning.tuning.training.learningRate = 5e-3
        tuning.tuning.training.refactoringWarmup = 5
        tuning.tuning.writesReport = false
        return tuning
    }

    @Test(
        arguments: [MethodName.lora, .reflora, .refloraS, .dora], ["bert_cls", "deberta_v3_cls"])
    func `a class is learned, and the adapter judges as its run did`(
        method: MethodName, model: String
    ) throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let encoder = try encoder(model)
        let (train, dev) = (try table(160, "train.tsv"), try table(60, "dev.tsv", seed: 2))
        var tuning = try tuning("label", method: method, steps: 60)
        tuning.metric = .matthews
        tuning.tuning.validation = .file(dev)
        tuning.tuning.training.validation.interval = 20
        let output = "\(folder)/adapter"
        var last: ValidationMetrics?
        let report = try tuning.run(
            encoder, data: train, output: output, replace: false,
            progress: {
                last = $0.validation ?? last
                return .proceed
            })
        // A `q` among random letters is plain to see: chance would be a half.
        let best = try #require(report.run.validation?.bestScore)
        #expect(best > 0.8, "Matthews \(best)")
        #expect(report.run.lastLoss < report.run.firstLoss / 2)
        #expect(last?.scores.map(\.metric) == [.accuracy, .f1, .matthews])

        for path in [output, report.bundle] {
            let classifier = try SequenceClassifier(encoder, adapter: path)
            #expect(classifier.task == SequenceTask(kind: .classification, labels: ["no", "yes"]))
            let evaluation = try classifier.evaluate(
                dev, columns: tuning.columns, maximumLength: 64)
            // The kept adapter is the one with the best metric; the same predictions.
            #expect(evaluation.scores.first { $0.metric == .matthews }?.value == best)
            let judged = try classifier([("abcdq", pair: nil), ("abcda", pair: nil)])
            #expect(judged.map(\.label) == ["yes", "no"])
            #expect(judged.allSatisfy { abs($0.scores.reduce(0, +) - 1) < 1e-12 })
        }
        let configuration = try JSON(contentsOf: output + "/adapter_config.json")
        #expect(configuration["task_type"]?.string == "SEQ_CLS")
        #expect(configuration["modules_to_save"] == ["classifier", "pooler"])
        #expect(configuration["use_dora"]?.bool == (method == .dora))
    }

    @Test func `a number is learned, over a part of the layers`() throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let encoder = try encoder("bert_cls")
        var tuning = try tuning("score", method: .lora, steps: 80)
        tuning.kind = .regression
        tuning.metric = .spearman
        tuning.tuning.targetModules = ["query", "value", "attention.output.dense"]
        tuning.tuning.validation = .split(0.25)
        let output = "\(folder)/adapter"
        let report = try tuning.run(
            encoder, data: table(200, "train.tsv"), output: output, replace: false)
        let score = try #require(report.run.validation?.bestScore)
        #expect(score > 0.6, "Spearman \(score)")
        let adapter = try Adapters.load(output, over: encoder)
        #expect(adapter.moduleCount == 6 && adapter.tensors.count == 4)
        #expect(adapter.tensors["classifier.weight"]?.shape == [1, 64])
        let classifier = try SequenceClassifier(encoder, adapter: output)
        #expect(classifier.task.kind == .regression)
        #expect(try classifier([("aaaa", pair: "b")])[0].label == nil)
    }

    @Test func `a run that was stopped and resumed ends with the same bytes`() throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let encoder = try encoder("bert_cls")
        let train = try table(60, "train.tsv")
        var tuning = try tuning("label", method: .reflora, steps: 12)
        tuning.tuning.validation = .split(0.2)
        tuning.tuning.training.validation.interval = 4
        tuning.metric = .accuracy
        func run(_ output: String, stopAfter: Int? = nil) throws {
            _ = try tuning.run(
                encoder, data: train, output: output, replace: false,
                progress: { $0.step == stopAfter ? .stop : .proceed })
        }
        let (whole, parts) = ("\(folder)/whole", "\(folder)/parts")
        try run(whole)
        tuning.tuning.checkpoints = CheckpointFolder.Options(every: 3)
        #expect(throws: FineTuning.Interruption.self) { try run(parts, stopAfter: 7) }
        tuning.tuning.checkpoints?.resumes = true
        try run(parts)
        let files = try [whole, parts].map {
            try Data(contentsOf: URL(filePath: $0 + "/adapter_model.safetensors"))
        }
        #expect(files[0] == files[1])
    }

    @Test func `its classes stay with the adapter, however it is packed`() throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let encoder = try encoder("bert_cls")
        let output = "\(folder)/adapter"
        _ = try tuning("label", method: .lora, steps: 1).run(
            encoder, data: table(20, "train.tsv"), output: output, replace: false)
        try AdapterBundle.pack(output, to: "\(folder)/a.lorikeet")
        // As a registry packs what leaves its memory.
        try AdapterBundle.pack(
            Adapters.load(output, over: encoder), to: "\(folder)/b.lorikeet")
        try AdapterBundle.unpack("\(folder)/b.lorikeet", to: "\(folder)/unpacked")
        for path in ["adapter", "a.lorikeet", "b.lorikeet", "unpacked"] {
            let classifier = try SequenceClassifier(encoder, adapter: "\(folder)/\(path)")
            #expect(classifier.task.labels == ["no", "yes"], "\(path)")
        }
        try Data("[]".utf8).write(to: URL(filePath: "\(output)/task.json"))
        #expect(throws: LorikeetError.self) { try Adapters.load(output, over: encoder) }
    }

    @Test func `a run is told beforehand, and made to fit into the memory it may take`() throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let encoder = try encoder("bert_cls")
        let train = try table(64, "train.tsv")
        var tuning = try tuning("label", method: .lora, steps: 3)
        func preview() throws -> FineTuning.Preview {
            try tuning.preview(encoder, data: train, output: "\(folder)/none", replace: false)
        }
        let usual = try preview()
        #expect(usual.data.steps?.total == 3 && usual.learningRates.count == 3)
        #expect(!FileManager.default.fileExists(atPath: "\(folder)/none"))
        func run(_ output: String) throws -> (FineTuning.Report, notes: [String]) {
            var notes: [String] = []
            let report = try tuning.run(
                encoder, data: train, output: "\(folder)/\(output)", replace: false,
                note: { notes.append($0) })
            return (report, notes)
        }
        let whole = try run("whole").0
        #expect(whole.predictedPeakMemoryBytes == usual.predictedPeakMemoryBytes)
        #expect(whole.trainableParameters == usual.trainableParameters)
        tuning.tuning.maximumMemory = usual.predictedPeakMemoryBytes - 1
        let (fitted, notes) = try run("fitted")
        #expect(fitted.predictedPeakMemoryBytes < usual.predictedPeakMemoryBytes)
        #expect(notes.contains { $0.contains("--batch-size 8 --accumulate 2") }, "\(notes)")
        // The same rows a step: sums in another order.
        #expect(abs(fitted.run.lastLoss - whole.run.lastLoss) < 1e-5)
        tuning.tuning.maximumMemory = 1000
        #expect(throws: LorikeetError.self) { try preview() }
    }

    @Test func `what cannot be done is refused before the first step`() throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let encoder = try encoder("bert_cls")
        let train = try table(20, "train.tsv")
        func refuses(
            _ what: String, label: String = "label", _ change: (inout SequenceTuning) -> Void
        ) throws {
            var tuning = try tuning(label, method: .lora, steps: 1)
            change(&tuning)
            #expect(throws: LorikeetError.self, "\(what)") {
                try tuning.run(
                    encoder, data: train, output: "\(folder)/refused", replace: false)
            }
        }
        try refuses("a method with an optimizer of its own") {
            $0.tuning.training.method = .adalora
        }
        try refuses("a start that looks at weights") { $0.tuning.initialization = .pissa }
        try refuses("a metric of numbers") { $0.metric = .pearson }
        try refuses("a layer that is not there") { $0.tuning.targetModules = ["q_proj"] }
        try refuses("no such column", label: "class") { _ in }
        try refuses("words as numbers") { $0.kind = .regression }
        #expect(!FileManager.default.fileExists(atPath: "\(folder)/refused"))
        #expect(throws: LorikeetError.self) {
            // The checkpoint's head has three outputs, the labels are two.
            try SequenceClassifier(encoder, adapter: nil).evaluate(
                train, columns: .init(texts: ["text"], label: "label"), maximumLength: 64)
        }
    }
}

@Suite struct `Tables of texts` {
    private func rows(
        _ text: String, _ name: String, columns: SequenceRows.Columns
    ) throws -> SequenceRows {
        let folder = FileManager.default.temporaryDirectory.appending(
            path: "table-\(UUID().uuidString)"
        ).path(percentEncoded: false)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try TinyTextEncoder.write("bert_cls", to: folder)
        try Data(text.utf8).write(to: URL(filePath: "\(folder)/\(name)"))
        return try SequenceRows(
            "\(folder)/\(name)", columns: columns, kind: .classification,
            encoder: TextEncoder(path: folder, compute: Compute(threads: 1, precision: .fp32)),
            maximumLength: 64)
    }

    // "ab" and "c", of classes 10 and 9, in that order.
    private static let tables: [(String, String, SequenceRows.Columns)] = [
        (
            "\u{FEFF}label\ttext\r\n10\tab\r\n9\tc\r\n", "a.tsv",
            .init(texts: ["text"], label: "label")
        ),
        ("10\tx\tab\n\n9\tx\tc", "a.tsv", .init(texts: ["3"], label: "1")),
        ("label,text\n10,\"ab\"\n9,c\n", "a.csv", .init(texts: ["text"], label: "label")),
        (
            "{\"y\": 10, \"t\": \"ab\"}\n\n{\"y\": \"9\", \"t\": \"c\"}\n", "a.jsonl",
            .init(texts: ["t"], label: "y")
        ),
    ]

    @Test(arguments: tables)
    func `are read by name or number`(
        text: String, name: String, columns: SequenceRows.Columns
    ) throws {
        let rows = try rows(text, name, columns: columns)
        #expect(rows.task.labels == ["9", "10"])
        #expect(rows.rows.map(\.inputIDs) == [[2, 97, 98, 3], [2, 99, 3]])
        #expect(rows.rows.map(\.target) == [.label(1), .label(0)])
    }

    @Test func `a CSV's fields may be quoted, over lines`() throws {
        let rows = try rows(
            "t,y\n\"a \"\"b\"\",\nc\",no\n\"\",yes\n", "a.csv",
            columns: .init(texts: ["t"], label: "y"))
        #expect(rows.rows[0].inputIDs == [2] + Array("a \"b\",\nc".utf8).map(Int32.init) + [3])
        #expect(rows.rows[1].inputIDs == [2, 3] && rows.name(of: 1).hasSuffix("line 4"))
    }

    @Test(arguments: [
        ("t\ty\n", "a.tsv"), ("", "a.tsv"), ("t\ty\na\n", "a.tsv"), ("x\ty\na\tb\n", "a.tsv"),
        ("t,y\n\"a,b\n", "a.csv"), ("t,y\n\"a\"b,c\n", "a.csv"), ("{\"t\": \"a\"}\n", "a.jsonl"),
        ("{\n", "a.jsonl"), ("t\ty\na\tb\n", "a.xls"), ("t\ty\na\tb\n", "a.tsv.gz"),
    ])
    func `bad ones are refused`(text: String, name: String) {
        #expect(throws: LorikeetError.self) {
            try rows(text, name, columns: .init(texts: ["t"], label: "y"))
        }
    }
}
