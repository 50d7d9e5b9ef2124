import Foundation
import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime
import Testing

/// Rows that stay in their file until they are asked for.
@Suite struct IndexedRowsTests {
    private static let texts = (0..<300).map { String(repeating: "ab", count: 1 + $0 * 7 % 40) }

    /// The tokens of a text: its bytes and the end.
    private func ids(_ text: String) -> [Int32] { text.utf8.map { Int32($0) } + [258] }

    @Test func `rows are what their lines say, whenever they are read`() throws {
        let data = try SmallData()
        try data.write(SmallData.lines(Self.texts))
        let rows = try data.read().rows
        #expect(try rows.all().map(\.inputIDs) == Self.texts.map(ids))
        for index in [299, 0, 150, 150] {
            #expect(try rows.row(at: index).inputIDs == ids(Self.texts[index]))
            #expect(rows.tokenCount(at: index) == Self.texts[index].utf8.count + 1)
            #expect(rows.targetCount(at: index) == Self.texts[index].utf8.count)
            #expect(rows.name(of: index) == "\(data.folder["rows.jsonl"]), line \(index + 1)")
        }
    }

    @Test func `threads read the same, and name the first bad line`() throws {
        let data = try SmallData()
        try data.write(SmallData.lines(Self.texts))
        let (one, four) = (try data.read(), try data.read(pool: ThreadPool(threads: 4)))
        #expect(try one.rows.all() == four.rows.all())
        #expect(one.report == four.report && one.digest == four.digest)
        try data.write(SmallData.lines(Self.texts) + "{\n[\n" + SmallData.lines(Self.texts))
        let error = try failure { _ = try data.read(pool: ThreadPool(threads: 4)) }
        #expect(error.subject.hasSuffix("line 301"))
    }

    @Test func `the digest is the file's`() throws {
        let data = try SmallData()
        let path = try data.write(SmallData.lines(Self.texts))
        let (digest, expected) = (try data.read().digest, sha256(try contents(path)))
        #expect(digest == expected)
    }

    @Test func `lines longer than what is read at a time are whole`() throws {
        let data = try SmallData()
        // Parts of a megabyte: one ends within the first line, another within the third's end.
        let long = String(repeating: "x", count: 3 << 20)
        let exact = String(repeating: "y", count: (1 << 20) - 12 - 12)
        try data.write(SmallData.lines([long, "b", exact, "c"]) + "{\"text\": \"d\"}")
        let rows = try data.read(maximumLength: 4 << 20).rows
        #expect(
            (0..<rows.count).map { rows.tokenCount(at: $0) }
                == [long.utf8.count + 1, 2, exact.utf8.count + 1, 2, 2])
        #expect(try rows.row(at: 3).inputIDs == ids("c"))
        #expect(try rows.row(at: 4).inputIDs == ids("d"))
    }

    @Test func `bytes that are not UTF-8 are refused, and an escaped NUL is a character`() throws {
        let data = try SmallData()
        let path = try data.write("{\"text\": \"a\\u0000b\"}\r\n")
        #expect(try data.read().rows.row(at: 0).inputIDs == [97, 0, 98, 258])
        try write(Array("{\"text\": \"".utf8) + [0xFF, 0xC0] + Array("\"}".utf8), to: path)
        let error = try failure { _ = try withExtendedLifetime(data) { try data.read() } }
        #expect(error.subject.hasSuffix("line 1") && error.problem.contains("UTF-8"))
    }

    @Test func `a folder is no data file`() throws {
        let data = try SmallData()
        try FileManager.default.createDirectory(
            atPath: data.folder["rows.jsonl"], withIntermediateDirectories: true)
        #expect(try failure { _ = try data.read() }.code == .io)
    }

    // MARK: A file that changes

    /// Changes the file in place after it was indexed; whoever reads it sees the change.
    private func changed(_ change: (FileHandle) throws -> Void) throws -> any TrainingRows {
        let data = try SmallData()
        let path = try data.write(SmallData.lines(["aaa", "bbb", "ccc"]))
        let rows = try data.read().rows
        try withExtendedLifetime(data) {
            let handle = try FileHandle(forUpdating: URL(fileURLWithPath: path))
            try change(handle)
            try handle.close()
        }
        return rows
    }

    private func expectChanged(_ rows: any TrainingRows, at index: Int) throws {
        let error = try failure { _ = try rows.row(at: index) }
        #expect(error.code == .mismatch && error.problem.contains("changed"))
        #expect(error.subject.hasSuffix("line \(index + 1)"))
    }

    @Test func `a line with another text of the same length is noticed`() throws {
        let rows = try changed { handle in
            try handle.seek(toOffset: 16 + 10)
            handle.write(Data("bxb".utf8))
        }
        #expect(try rows.row(at: 0).inputIDs == ids("aaa"))
        try expectChanged(rows, at: 1)
        #expect(try rows.row(at: 2).inputIDs == ids("ccc"))
    }

    @Test(arguments: [0, 1, 15, 16, 20])
    func `a file that was shortened is noticed, never touched past its end`(length: Int) throws {
        let rows = try changed { try $0.truncate(atOffset: UInt64(length)) }
        for index in 0..<3 where length < 16 * (index + 1) - 1 {
            try expectChanged(rows, at: index)
        }
    }

    @Test func `a file that grows, or is replaced by another, keeps the rows it had`() throws {
        let grown = try changed { handle in
            try handle.seekToEnd()
            handle.write(Data(SmallData.lines(["ddd"]).utf8))
        }
        #expect(try grown.all().map(\.inputIDs) == ["aaa", "bbb", "ccc"].map(ids))
        let data = try SmallData()
        try data.write(SmallData.lines(["aaa"]))
        let rows = try data.read().rows
        try data.write(SmallData.lines(["zzz"]), to: "other.jsonl")
        try FileManager.default.removeItem(atPath: data.folder["rows.jsonl"])
        try FileManager.default.moveItem(
            atPath: data.folder["other.jsonl"], toPath: data.folder["rows.jsonl"])
        #expect(try rows.row(at: 0).inputIDs == ids("aaa"))
    }

    @Test func `a run stops at the line that changed`() throws {
        let rows = try changed { handle in
            try handle.seek(toOffset: 16 + 10)
            handle.write(Data("bxb".utf8))
        }
        var options = TrainingOptions()
        (options.length, options.batchSize, options.shuffles) = (.steps(3), 1, false)
        options.method = .lora
        var steps = 0
        let error = try failure {
            try Trainer(rows, options: options).run(
                Unmoved(), adapter: ToyModel.adapter(scale: 1), compute: Compute(threads: 1)
            ) { _ in
                steps += 1
                return .proceed
            }
        }
        #expect(steps == 1 && error.subject.hasSuffix("line 2"))
    }

    /// A model without a gradient.
    private struct Unmoved: LossAndGradients {
        func accumulate(
            _ rows: [TrainingRow], adapter: any TrainableLowRankDeltas, lossScale: Float
        ) -> (loss: Double, targets: Int) { (1, 1) }

        func evaluate(
            _ rows: [TrainingRow], adapter: any LowRankDeltas
        ) -> (loss: Double, targets: Int) { (1, 1) }
    }
}
