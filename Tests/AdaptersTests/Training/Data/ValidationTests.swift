import LorikeetAdapters
import LorikeetRuntime
import Testing

@Suite struct ValidationTests {
    private static let letters = "abcdefghijklmnopqrstuvwxyz".map(String.init)

    @Test(arguments: [2, 3, 10, 101], [0.001, 0.05, 0.5, 0.999])
    func `a split leaves out nothing and shares nothing`(count: Int, fraction: Double) throws {
        let split = try TrainingData.split(count, fraction: fraction, seed: 3)
        #expect((split.training + split.validation).sorted() == Array(0..<count))
        let expected = (Double(count) * fraction).rounded()
        #expect(split.validation.count == min(max(Int(expected), 1), count - 1))
        #expect(split.training == split.training.sorted())
    }

    @Test func `a split follows from the seed`() throws {
        func part(_ seed: UInt64) throws -> [Int] {
            try TrainingData.split(1000, fraction: 0.05, seed: seed).validation
        }
        #expect(try part(1) == part(1))
        #expect(try part(1) != part(2))
        // Drawn from all of them: the mean of 50 of 0..<1000 is within five deviations of 500.
        #expect(try abs(Double(part(1).reduce(0, +)) / 50 - 499.5) < 5 * 289 / 7)
    }

    @Test(arguments: [0.0, 1.0, -1, .nan])
    func `a fraction that leaves one side empty is refused`(fraction: Double) throws {
        let error = try failure { _ = try TrainingData.split(10, fraction: fraction, seed: 0) }
        #expect(error.subject == "--validation-split")
        #expect(throws: LorikeetError.self) { try TrainingData.split(1, fraction: 0.5, seed: 0) }
    }

    @Test func `rows set aside are not trained on, and equal ones are counted`() throws {
        let data = try SmallData()
        try data.write(SmallData.lines(Self.letters + ["a", "a", "b"]))
        let set = try data.read(validation: .split(0.2), seed: 4)
        let held = try #require(set.validation)
        #expect(held.count == 6 && set.rows.count == 23)
        let (training, validation) = (try set.rows.all(), try held.all())
        let expected: [Int32] = [97, 97, 97, 98, 98] + Array(99...122)
        #expect((training + validation).map { $0.inputIDs[0] }.sorted() == expected)
        #expect(set.report.duplicates == training.count { validation.contains($0) })
        #expect(set.report.validation?.rows == 6 && set.report.training.rows == 23)
        #expect(set.report.lines.count == 2 && set.report.lines[1].contains("seed 4"))
        // The names are the lines of the file.
        for index in 0..<23 {
            let line = try #require(set.rows.name(of: index).split(separator: " ").last)
            let number = try #require(Int(line))
            let letter = (Self.letters + ["a", "a", "b"])[number - 1].utf8.first ?? 0
            #expect(training[index].inputIDs[0] == Int32(letter))
        }
    }

    @Test func `a validation file is read like the data`() throws {
        let data = try SmallData()
        try data.write(SmallData.lines(["a", "b", "a", "c"]))
        let path = try data.write(
            "{\"prompt\": \"\", \"completion\": \"z\"}\n{\"text\": \"a\"}\n", to: "held.jsonl")
        let set = try data.read(validation: .file(path))
        #expect(set.rows.count == 4 && set.validation?.count == 2)
        #expect(set.report.duplicates == 2)
        #expect(set.report.validationFile?.rows == 2)
        #expect(try set.validationDigest == sha256(contents(path)))
        try data.write("{\"text\": 1}", to: "held.jsonl")
        let error = try failure { _ = try data.read(validation: .file(path)) }
        #expect(error.subject.hasSuffix("held.jsonl, line 1"))
    }
}
