import LorikeetRuntime
import Testing

@Suite struct StopStringsTests {
    /// Every way to cut `text` into up to three pieces gives the same result.
    private func everyCut(_ text: String, _ stops: [String]) -> Set<String> {
        let characters = Array(text)
        var results: Set<String> = []
        for first in 0...characters.count {
            for second in first...characters.count {
                var watcher = StopStrings(stops)
                var output = ""
                for piece in [
                    characters[..<first], characters[first..<second], characters[second...],
                ] {
                    output += watcher.append(String(piece))
                }
                output += watcher.finish()
                results.insert("\(output)|\(watcher.isStopped)")
            }
        }
        return results
    }

    @Test func `a stop string ends the text wherever the pieces are cut`() {
        #expect(everyCut("one two END three", ["END"]) == ["one two |true"])
        #expect(everyCut("naïve 🦜 stop", ["🦜"]) == ["naïve |true"])
    }

    @Test func `the first of several stop strings wins`() {
        #expect(everyCut("a\nUser: b\n\nc", ["\n\n", "User:"]) == ["a\n|true"])
    }

    @Test func `text that only begins like a stop string comes out`() {
        #expect(everyCut("EN EN E", ["END"]) == ["EN EN E|false"])
        #expect(everyCut("aaab", ["aab"]) == ["a|true"])
        #expect(everyCut("aab", ["ab", "aac"]) == ["a|true"])
    }

    @Test func `what may begin a stop string is held back`() {
        var watcher = StopStrings(["</end>"])
        #expect(watcher.append("text </e") == "text ")
        #expect(watcher.append("m>") == "</em>")
        #expect(watcher.append("<") == "")
        #expect(watcher.finish() == "<")
    }

    @Test func `without stop strings everything passes`() {
        var watcher = StopStrings([])
        #expect(watcher.append("anything") == "anything")
        #expect(watcher.append("") == "")
        #expect(!watcher.isStopped)
    }
}
