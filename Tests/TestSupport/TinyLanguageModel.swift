import Foundation
import LorikeetRuntime

/// A model of two blocks that reads and writes bytes, as a folder: what tests ask questions.
public enum TinyLanguageModel {
    /// Writes the folder at `path`: random weights, so many positions, and a chat template if one is given.
    public static func write(
        to path: String, chatTemplate: String? = nil, positions: Int = 1024
    ) throws {
        let source = Fixtures.root.appending(
            path: "Tests/RuntimeTests/Resources/tiny/llama_plain_mha"
        ).path(percentEncoded: false)
        try FileManager.default.copyItem(atPath: source, toPath: path)
        let folder = URL(filePath: path)
        var configuration = try JSON(contentsOf: path + "/config.json")
        configuration["max_position_embeddings"] = .int(positions)
        try configuration.data().write(to: folder.appending(path: "config.json"))
        try ByteTokenizer.json().data().write(to: folder.appending(path: "tokenizer.json"))
        if let chatTemplate {
            try Data(chatTemplate.utf8).write(to: folder.appending(path: "chat_template.jinja"))
        }
    }

    /// Rows for it to learn, as lines of JSON.
    public static func rows(_ count: Int) -> String {
        (0..<count).map { "{\"text\": \"row \($0) says \($0 * $0 % 7) times \($0 % 5)\"}\n" }
            .joined()
    }
}
