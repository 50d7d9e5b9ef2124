import ArgumentParser
import Foundation
import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime

/// `lorikeet data`: what concerns a data file without a run.
struct DataCommands: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "data", abstract: "Look at a data file before training on it.",
        subcommands: [DataCheckCommand.self])
}

/// `lorikeet data check FILE --model DIR`.
struct DataCheckCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract:
            "Say what training would make of a data file, and show rows as the model sees them.",
        discussion: """
            What is learned is green on a terminal and between ⟦ and ⟧ elsewhere. Bad lines are named, up to \
            twenty of them, and the exit code is 1.
            """)

    @Argument(help: "A JSONL file.")
    var file: String

    @Option(name: [.short, .long], help: "A model, or a folder with a tokenizer.json.")
    var model: String

    @Option(help: "Rows to show.")
    var rows = 1

    @Option(help: "Longer rows are cut to this many tokens.")
    var maxLength = 512

    @OptionGroup var common: CommonOptions

    func validate() throws {
        guard rows >= 0, maxLength >= 2 else {
            throw ValidationError("--rows: expected 0 or more; --max-length: 2 or more.")
        }
    }

    func run() throws {
        let checkpoint = try Checkpoints.open(model)
        let files = try TokenizerFiles(checkpoint)
        let tokenizer = try files.tokenizer()
        // As training cuts rows: at what the model was made for.
        let positions = checkpoint.configuration["max_position_embeddings"]?.int ?? maxLength
        let check = try DataCheck(
            jsonl: file, tokenizer: tokenizer, chatTemplate: files.chatTemplate(),
            maximumLength: max(min(maxLength, positions), 2), pool: common.compute().pool)
        let samples = try (0..<min(rows, check.rows.count)).map {
            (name: check.rows.name(of: $0), row: try check.rows.row(at: $0))
        }
        for error in check.errors { Terminal.note("\(error)") }
        if check.errorCount > check.errors.count {
            Terminal.note("… and \(check.errorCount - check.errors.count) more bad lines.")
        }
        if common.json {
            var json = check.report.json
            json["errors"] = .array(check.errors.map { .string("\($0)") })
            json["error_count"] = .int(check.errorCount)
            json["rows"] = .array(samples.map { $0.row.json($0.name, tokenizer) })
            Terminal.print(json)
        } else {
            for line in check.report.lines { Terminal.print(line) }
            for sample in samples {
                let (tokens, targets) = (sample.row.inputIDs.count, sample.row.targetCount)
                Terminal.print("\n\(sample.name): \(tokens) tokens, \(targets) trained")
                Terminal.print(sample.row.marked(tokenizer))
            }
        }
        if check.errorCount > 0 { throw ExitCode(1) }
    }
}

extension TrainingRow {
    /// The text with what is trained on in green, or between marks.
    fileprivate func marked(_ tokenizer: Tokenizer) -> String {
        let (begin, end) = isatty(STDOUT_FILENO) == 1 ? ("\u{1B}[32m", "\u{1B}[0m") : ("⟦", "⟧")
        return spans(tokenizer).map {
            let text = $0.text.printable
            return $0.isTrained ? begin + text + end : text
        }.joined()
    }

    /// Where it stands, its ids, its targets and its text.
    fileprivate func json(_ name: String, _ tokenizer: Tokenizer) -> JSON {
        [
            "name": .string(name), "input_ids": .array(inputIDs.map { .int(Int($0)) }),
            "tokens": .array(inputIDs.map { .string(tokenizer.token(of: $0) ?? "") }),
            "labels": .array(labels.map { .int(Int($0)) }),
            "text": .string(tokenizer.decode(inputIDs)),
        ]
    }
}

extension String {
    /// The text without the characters that would command a terminal.
    fileprivate var printable: String {
        String(
            String.UnicodeScalarView(
                unicodeScalars.map {
                    let commands = $0.properties.generalCategory == .control
                    return commands && $0 != "\n" && $0 != "\t" ? "\u{FFFD}" : $0
                }))
    }
}
