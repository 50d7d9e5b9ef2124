public import ArgumentParser
import LorikeetAdapters

/// What an encoder is trained for, and the columns of its tables.
struct TaskOptions: ParsableArguments {
    @Option(
        help: """
            Train a head over an encoder: classification or regression; --data is a TSV, CSV or JSONL table then.
            """)
    var task: SequenceTask.Kind?

    @OptionGroup var columns: ColumnOptions

    @Option(
        help: """
            The metric on the held-out rows that decides which adapter is kept: accuracy, f1, matthews, pearson \
            or spearman; default: the loss.
            """)
    var metric: TaskMetric?

    func validate() throws {
        guard task != nil || (columns.textColumns == nil && metric == nil) else {
            throw ValidationError("--text-columns and --metric: give --task too.")
        }
        guard task == nil || columns.columns != nil else {
            throw ValidationError("--task: give --text-columns and --label-column.")
        }
    }
}

/// The columns of a table.
struct ColumnOptions: ParsableArguments {
    @Option(
        help: """
            The column of the text, or both of a pair, separated by a comma: names of a TSV's or CSV's first line or \
            a JSONL's keys, or numbers from 1 for a table without such a line.
            """)
    var textColumns: String?

    @Option(help: "The column of the class or the number.")
    var labelColumn: String?

    func validate() throws {
        guard (textColumns == nil) == (labelColumn == nil) else {
            throw ValidationError("--text-columns and --label-column: give both.")
        }
        guard columns.map({ (1...2).contains($0.texts.count) }) ?? true else {
            throw ValidationError("--text-columns: expected one column, or two.")
        }
    }

    /// Both; nil for neither.
    var columns: SequenceRows.Columns? {
        guard let textColumns, let labelColumn else { return nil }
        return SequenceRows.Columns(
            texts: textColumns.split(separator: ",").map(String.init), label: labelColumn)
    }
}

extension SequenceTask.Kind: ExpressibleByArgument {}
extension TaskMetric: ExpressibleByArgument {}
