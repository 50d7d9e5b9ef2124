import Foundation

/// Answers among which a task of LLM-Adapters chooses.
struct AnswerFamily: Sendable {
    /// All that any task of the family knows, in their order.
    let members: [String]

    /// The five of `extract_answer` in LLM-Adapters' commonsense_evaluate.py.
    static let all = [
        AnswerFamily(members: ["true", "false"]),
        AnswerFamily(members: (1...2).map { "solution\($0)" }),
        AnswerFamily(members: (1...5).map { "answer\($0)" }),
        AnswerFamily(members: (1...4).map { "ending\($0)" }),
        AnswerFamily(members: (1...2).map { "option\($0)" }),
    ]

    /// The family that `answer` belongs to.
    static func of(_ answer: String) -> AnswerFamily? {
        all.first { $0.members.contains(answer) }
    }

    /// Those that `instruction` names, in whatever case.
    func members(in instruction: String) -> [String] {
        let text = instruction.lowercased()
        return members.filter { text.contains($0) }
    }
}
