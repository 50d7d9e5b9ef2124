import ArgumentParser
import Foundation
import LorikeetRuntime

/// `lorikeet tokenize --model DIR [TEXT]`.
struct Tokenize: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Turn text into a model's token ids, or ids back into text.",
        discussion: "Without TEXT and --ids the text is read from standard input.")

    @Option(name: [.short, .long], help: "A model, or a folder with its tokenizer.")
    var model: String

    @Argument(help: "The text.")
    var text: String?

    @Option(help: "Token ids to decode, separated by commas.")
    var ids: String?

    @Flag(help: "Leave out the special tokens that the tokenizer adds around a text.")
    var noSpecialTokens = false

    @OptionGroup var common: CommonOptions

    func validate() throws {
        guard text == nil || ids == nil else {
            throw ValidationError("Give TEXT or --ids, not both.")
        }
    }

    func run() throws {
        let tokenizer = try TokenizerFiles(path: model).tokenizer()
        if let ids {
            let tokens = try ids.split(separator: ",").map { word in
                guard let id = Int32(word.filter { !$0.isWhitespace }),
                    tokenizer.token(of: id) != nil
                else {
                    throw ValidationError(
                        "--ids: '\(word)' is not a token id below \(tokenizer.vocabularyCount).")
                }
                return id
            }
            let text = tokenizer.decode(tokens)
            if common.json { Terminal.print(["text": .string(text)]) } else { Terminal.print(text) }
            return
        }
        let bytes = text.map { Data($0.utf8) } ?? FileHandle.standardInput.readDataToEndOfFile()
        let tokens = bytes.withUnsafeBytes {
            tokenizer.encode(bytes: $0, addSpecialTokens: !noSpecialTokens)
        }
        if common.json {
            Terminal.print([
                "ids": .array(tokens.map { .int(Int($0)) }),
                "tokens": .array(tokens.map { .string(tokenizer.token(of: $0) ?? "") }),
            ])
        } else {
            Terminal.print(tokens.map(String.init).joined(separator: ","))
        }
    }
}
