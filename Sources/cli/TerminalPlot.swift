import Foundation

/// A curve drawn in the terminal with braille dots, two columns and four rows of dots a character.
struct TerminalPlot {
    /// Characters across and down.
    var width = 56
    var height = 7

    /// The lines of the plot of `values` over their index, the y axis on the left.
    func lines(_ values: [Double]) -> [String] {
        guard let low = values.min(), let high = values.max(), values.count > 1 else { return [] }
        let range = high > low ? high - low : 1
        let (columns, rows) = (width * 2, height * 4)
        var cells = [[UInt32]](repeating: [UInt32](repeating: 0, count: width), count: height)
        var previous: Int?
        for column in 0..<columns {
            let value = interpolate(values, at: Double(column) / Double(columns - 1))
            let row = min(rows - 1, Int((high - value) / range * Double(rows - 1) + 0.5))
            // A steep piece is a column of dots, so that the curve has no holes.
            let from = previous.map { $0 < row ? $0 + 1 : $0 > row ? $0 - 1 : row } ?? row
            for dot in min(from, row)...max(from, row) {
                cells[dot / 4][column / 2] |= Self.dot(column: column % 2, row: dot % 4)
            }
            previous = row
        }
        return cells.enumerated().map { index, line in
            let label =
                index == 0
                ? String(format: "%6.2f ┤", high)
                : index == height - 1 ? String(format: "%6.2f ┤", low) : "       │"
            return label
                + String(String.UnicodeScalarView(line.compactMap { Unicode.Scalar(0x2800 + $0) }))
        }
    }

    private func interpolate(_ values: [Double], at fraction: Double) -> Double {
        let position = fraction * Double(values.count - 1)
        let index = min(Int(position), values.count - 2)
        let weight = position - Double(index)
        return values[index] * (1 - weight) + values[index + 1] * weight
    }

    /// The bit of a dot in a braille character (Unicode 2800 + bits).
    private static func dot(column: Int, row: Int) -> UInt32 {
        let bits: [[UInt32]] = [[0x01, 0x02, 0x04, 0x40], [0x08, 0x10, 0x20, 0x80]]
        return bits[column][row]
    }
}
