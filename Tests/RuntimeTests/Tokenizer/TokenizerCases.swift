import Foundation
import LorikeetRuntime
import Testing

/// The recorded cases in Resources/tokenizer; `generate.py` beside them made them.
enum TokenizerCases {
    static func path(_ name: String) throws -> String {
        try #require(
            Bundle.module.path(forResource: name, ofType: nil, inDirectory: "Resources/tokenizer"))
    }

    static func json(_ name: String) throws -> JSON { try JSON(contentsOf: path(name)) }

    static func tokenizer(_ name: String) throws -> Tokenizer {
        let path = try path("\(name).tokenizer.json")
        return try Tokenizer(json: JSON(contentsOf: path), source: path)
    }

    /// SmolLM2's own files, too large for the repository; nil where they are not at hand.
    static let smolLM2: String? = {
        let root = URL(fileURLWithPath: #filePath)
            .deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent()
        let folders = [
            "../shared/reference/golden/tokenizer", "../../shared/reference/golden/tokenizer",
        ]
        return folders.map { root.appendingPathComponent($0).standardizedFileURL.path }
            .first { FileManager.default.fileExists(atPath: $0 + "/tokenizer.json") }
    }()
}

extension JSON {
    /// The elements of an array that must be one.
    func elements(_ key: String) throws -> [JSON] { try #require(self[key]?.array) }

    /// A list of token ids.
    var ids: [Int32]? { array?.compactMap { $0.int.flatMap(Int32.init(exactly:)) } }
}

/// Scalar by scalar, since canonically equivalent strings are equal in Swift.
func spelled(_ text: String?) -> [Unicode.Scalar]? { text.map { Array($0.unicodeScalars) } }
