import Foundation
import LorikeetRuntime

/// An encoder of two blocks that reads letters, as a folder, and a table for it to learn.
public enum TinyTextEncoder {
    /// Writes the folder at `path`: random weights, `bert_cls` or `deberta_v3_cls`.
    public static func write(_ name: String, to path: String) throws {
        let source = Fixtures.root.appending(path: "Tests/RuntimeTests/Resources/tiny/\(name)")
            .path(percentEncoded: false)
        try FileManager.default.copyItem(atPath: source, toPath: path)
        var tokenizer = ByteTokenizer.json()
        // Two bytes that no text has stand for the special tokens: the model has 256.
        tokenizer["post_processor"] = [
            "type": "BertProcessing", "cls": ["\u{102}", 2], "sep": ["\u{103}", 3],
        ]
        try tokenizer.data().write(to: URL(filePath: path + "/tokenizer.json"))
    }

    /// A TSV of `count` rows: a text with a `q` is of class yes, and its score the share of `a`.
    public static func table(_ count: Int, seed: UInt64 = 1) -> String {
        var random = SeededGenerator(seed: seed)
        let rows = (0..<count).map { row in
            let isYes = row.isMultiple(of: 2)
            var letters = (0..<6 + random.integer(below: 6)).map { _ in
                "abcd".randomElement(&random)
            }
            if isYes { letters[random.integer(below: letters.count)] = "q" }
            let share = Double(letters.count { $0 == "a" }) / Double(letters.count)
            return "\(String(letters))\t\(isYes ? "yes" : "no")\t\(share)\n"
        }
        return "text\tlabel\tscore\n" + rows.joined()
    }
}

extension String {
    fileprivate func randomElement(_ random: inout SeededGenerator) -> Character {
        self[index(startIndex, offsetBy: random.integer(below: count))]
    }
}
