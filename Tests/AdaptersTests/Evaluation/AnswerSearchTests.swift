import LorikeetAdapters
import Testing

@Suite struct AnswerSearchTests {
    private static let answers = (1...5).map { "answer\($0)" }

    // What `re.findall('answer1|…|answer5', text)[0]` gives.
    @Test(arguments: [
        ("the correct answer is answer3", "answer3"), ("answer2 or answer1", "answer2"),
        ("  answer12", "answer1"), ("Answer1: no, answer 2", nil), ("", nil), ("answer", nil),
        ("日本answer4", "answer4"), ("ananswer5", "answer5"),
    ])
    func `the first answer in the text is found`(text: String, expected: String?) {
        #expect(AnswerSearch(Self.answers).first(in: text) == expected)
    }

    @Test func `true and false are found within words, in their own case`() {
        let search = AnswerSearch(["true", "false"])
        #expect(search.first(in: "That is untrue, false.") == "true")
        #expect(search.first(in: "True. It is False.") == nil)
    }

    @Test func `of answers that begin together the one that is listed first counts`() {
        #expect(AnswerSearch(["cat", "catfish"]).first(in: "a catfish") == "cat")
        #expect(AnswerSearch(["catfish", "cat"]).first(in: "a catfish") == "catfish")
    }

    @Test func `an answer is decided once nothing that comes can change it`() {
        let search = AnswerSearch(Self.answers)
        #expect(!search.isDecided(in: "the correct answer"))
        #expect(search.isDecided(in: "the correct answer is answer3"))
        let fish = AnswerSearch(["catfish", "cat", "a catfish!"])
        #expect(!fish.isDecided(in: "a cat"))
        #expect(!fish.isDecided(in: "a catfish"))
        #expect(fish.isDecided(in: "a catfish."))
        #expect(fish.isDecided(in: "a cats"))
        #expect(fish.first(in: "a cats") == "cat")
    }

    /// Growing texts: what is decided is what the whole text gives.
    @Test func `a decided answer is the whole text's`() {
        let search = AnswerSearch(["ab", "abab", "ba", "aab"])
        let letters = Array("ab")
        for code in 0..<1 << 8 {
            let text = String((0..<8).map { letters[code >> $0 & 1] })
            for end in 0...8 where search.isDecided(in: String(text.prefix(end))) {
                #expect(search.first(in: String(text.prefix(end))) == search.first(in: text))
            }
        }
    }
}
