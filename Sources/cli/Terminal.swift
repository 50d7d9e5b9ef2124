import Foundation
import LorikeetRuntime

/// Standard output and standard error, and what they are connected to.
enum Terminal {
    /// Whether standard error is a terminal, where progress may redraw its line.
    static let isInteractive = isatty(STDERR_FILENO) == 1

    /// Writes `text` to standard output at once, without a newline.
    static func write(_ text: String) {
        FileHandle.standardOutput.write(Data(text.utf8))
    }

    /// Writes a line to standard output.
    static func print(_ line: String) { write(line + "\n") }

    /// Writes the command's one JSON object to standard output.
    static func print(_ json: JSON) { write(json.text() + "\n") }

    /// Writes a line to standard error.
    static func note(_ line: String) { FileHandle.standardError.write(Data((line + "\n").utf8)) }

    /// Writes `text` to standard error without a newline.
    static func noteText(_ text: String) { FileHandle.standardError.write(Data(text.utf8)) }
}

/// Numbers as people read them.
enum Format {
    /// `93.8 MB`: decimal units, as disks and Hugging Face count.
    static func bytes(_ count: Int) -> String { ByteSize(bytes: count).description }

    /// `1:05` or `2:03:10`.
    static func duration(_ seconds: Double) -> String {
        guard seconds.isFinite, seconds < 1e7 else { return "-:--" }
        let whole = Int(seconds.rounded())
        let (hours, minutes, rest) = (whole / 3600, whole / 60 % 60, whole % 60)
        return hours > 0
            ? String(format: "%d:%02d:%02d", hours, minutes, rest)
            : String(format: "%d:%02d", minutes, rest)
    }
    /// Lines of as many cells each, in columns two spaces apart; those of `rightAligned` end together.
    static func table(_ lines: [[String]], rightAligned: Set<Int>) -> String {
        let columns = lines.first?.indices ?? 0..<0
        let widths = columns.map { column in lines.map { $0[column].count }.max() ?? 0 }
        return lines.map { cells in
            let padded = columns.map { column in
                let space = String(repeating: " ", count: widths[column] - cells[column].count)
                return rightAligned.contains(column)
                    ? space + cells[column] : cells[column] + space
            }
            let line = padded.joined(separator: "  ")
            return String(line.reversed().drop { $0 == " " }.reversed())
        }.joined(separator: "\n")
    }
}
