import Foundation

/// The file of a model's folder that its tokenizer is read from.
enum VocabularyFile {
    /// The names that it has, the preferred one first.
    static let names = [
        "tokenizer.json", "tokenizer.model", "spiece.model", "spm.model", "vocab.txt",
    ]

    /// What lies beside a vocabulary and says how it is used.
    static let sidecars = ["tokenizer_config.json", "added_tokens.json"]
}

extension Tokenizer {
    /// Reads a tokenizer from the files of a model's folder.
    ///
    /// - Parameters:
    ///   - folder: its path, for errors.
    ///   - file: the contents of a file of the folder, or nil if it is not there.
    /// - Throws: `.notFound` without a vocabulary, and what its reader throws.
    init(folder: String, file: (String) throws -> Data?) throws {
        func json(_ name: String) throws -> JSON? {
            try file(name).map { data in
                try data.withUnsafeBytes { try JSON(parsing: $0, source: folder + "/" + name) }
            }
        }
        let configuration = try json("tokenizer_config.json")
        for name in VocabularyFile.names {
            guard let data = try file(name) else { continue }
            let source = folder + "/" + name
            self = try data.withUnsafeBytes { bytes in
                if name == "tokenizer.json" {
                    return try Tokenizer(parsing: bytes, source: source)
                }
                let files = TokenizerSidecars(
                    configuration: configuration, addedTokens: try json("added_tokens.json"),
                    folder: folder)
                if name == "vocab.txt" {
                    return try Tokenizer(wordPieceText: bytes, source: source, beside: files)
                }
                return try TiktokenRanks.isLikely(bytes)
                    ? Tokenizer(tiktoken: bytes, source: source, beside: files)
                    : Tokenizer(sentencePiece: bytes, source: source, beside: files)
            }
            if let configuration {
                try apply(
                    configuration: configuration, source: folder + "/tokenizer_config.json")
            }
            return
        }
        throw LorikeetError(
            .notFound, folder, "there is no tokenizer",
            expected: VocabularyFile.names.joined(separator: ", "),
            advice: "Put one of these files of the model into the folder.")
    }
}
