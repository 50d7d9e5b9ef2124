import LorikeetRuntime
import Testing

struct PatternTests {
    /// The lengths in bytes of the matches and of what lies between them.
    private func pieces(_ pattern: Pattern, _ text: String) -> [Int] {
        var text = text
        return text.withUTF8 { buffer in
            var lengths: [Int] = []
            var done = 0
            pattern.forEachMatch(in: buffer) { match in
                lengths += [match.lowerBound - done, match.count]
                done = match.upperBound
            }
            return (lengths + [buffer.count - done]).filter { $0 > 0 }
        }
    }

    @Test func `patterns cut text where Oniguruma cuts it`() throws {
        for row in try #require(TokenizerCases.json("patterns.json").array) {
            let source = try #require(row["pattern"]?.string)
            let pattern = try Pattern(source, source: "test")
            for test in try row.elements("texts").compactMap(\.array) {
                let text = try #require(test[0].string)
                #expect(
                    pieces(pattern, text) == test[1].array?.compactMap(\.int),
                    "\(source) on \(String(reflecting: text))")
            }
        }
    }

    @Test(
        arguments: [
            ("(", "'('"), (")", "')'"), ("[a", "end"), ("*", "repeat"), ("a{2", "interval"),
            ("a{3,2}", "backwards"), ("a{2000}", "repetitions"), (#"\p{Han}"#, "Han"),
            (#"\p{L"#, "}"),
            (#"(?<=a)b"#, "group"), ("[a[b]]", "class within"), ("[a&&b]", "intersection"),
            ("[z-a]", "upwards"), (#"\h"#, #"\h"#), (#"\"#, "end"), (#"\x4"#, "hexadecimal"),
            ("(a*)*", "nothing"), ("((((a{900}){900}){900}){900})", "instructions"),
        ])
    func `what is not understood is refused by name`(pattern: String, named: String) {
        let error = #expect(throws: LorikeetError.self) {
            try Pattern(pattern, source: "file.json")
        }
        #expect(error?.subject == "file.json")
        #expect(error?.problem.contains(named) == true, "\(error?.problem ?? "")")
    }

    @Test func `groups may not nest without end`() {
        #expect(throws: LorikeetError.self) {
            try Pattern(String(repeating: "(", count: 10_000), source: "test")
        }
    }

    @Test func `a catastrophic pattern gives up instead of hanging`() throws {
        // 2^n ways to cut the run of letters, none followed by the b.
        let pattern = try Pattern("(?:a|aa|aaa)+b", source: "test")
        #expect(pieces(pattern, String(repeating: "a", count: 2000)) == [2000])
    }
}
