/// Finds the first of several answers that occurs in a text, as the regular expression `a|b|c` does.
package struct AnswerSearch: Sendable {
    private let answers: [[UInt8]]
    private let texts: [String]

    /// A search for `answers`, none of them empty; the earlier one counts where two begin together.
    package init(_ answers: [String]) {
        texts = answers
        self.answers = answers.map { Array($0.utf8) }
    }

    /// The answer that begins first in `text`.
    package func first(in text: String) -> String? {
        let text = Array(text.utf8)
        return match(in: text).map { texts[$0.answer] }
    }

    /// Whether the answer stays the same however `text` goes on.
    package func isDecided(in text: String) -> Bool {
        let text = Array(text.utf8)
        guard let match = match(in: text) else { return false }
        // An answer that begins no later, and of which the rest has not come yet, could take its place.
        return !(0...match.start).contains { start in
            let rest = text[start...]
            return answers.contains { $0.count > rest.count && $0.starts(with: rest) }
        }
    }

    private func match(in text: [UInt8]) -> (start: Int, answer: Int)? {
        for start in text.indices {
            let rest = text[start...]
            if let answer = answers.firstIndex(where: { rest.starts(with: $0) }) {
                return (start, answer)
            }
        }
        return nil
    }
}
