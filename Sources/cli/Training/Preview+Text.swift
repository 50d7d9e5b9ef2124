import Foundation
import LorikeetAdapters
import LorikeetRuntime

/// What --dry-run prints.
extension FineTuning.Preview {
    var lines: [String] {
        let epochs = Double(steps * rowsPerStep) / Double(rows)
        var lines = [
            "\(rows) rows, \(tokensPerEpoch) tokens, \(targetsPerEpoch) of them targets; "
                + "the longest row has \(longestRow)",
            "\(steps) steps of \(rowsPerStep) rows: \(String(format: "%.2f", epochs)) epochs, "
                + "\(Int(epochs * Double(tokensPerEpoch))) tokens",
            "\(trainableParameters) trainable parameters",
        ]
        let rates = learningRates.map(\.rate)
        let peak = rates.max() ?? 0
        let shown = String(format: "%.2e", peak)
        guard rates.contains(where: { $0 < peak }) else {
            return lines + ["learning rate \(shown) throughout"]
        }
        lines.append("learning rate, parts of \(shown), step 1 to \(steps)")
        lines += TerminalPlot().lines(rates.map { $0 / peak })
        return lines
    }

    var json: JSON {
        [
            "rows": .int(rows), "tokens_per_epoch": .int(tokensPerEpoch),
            "targets_per_epoch": .int(targetsPerEpoch), "longest_row": .int(longestRow),
            "steps": .int(steps), "rows_per_step": .int(rowsPerStep),
            "trainable_parameters": .int(trainableParameters),
            "learning_rates": .array(
                learningRates.map { ["step": .int($0.step), "learning_rate": .double($0.rate)] }),
        ]
    }
}
