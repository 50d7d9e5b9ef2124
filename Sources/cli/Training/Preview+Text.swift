import Foundation
import LorikeetAdapters
import LorikeetRuntime

/// What --dry-run prints.
extension FineTuning.Preview {
    var lines: [String] {
        var lines = data.lines
        lines.append(
            "\(trainableParameters) trainable parameters, "
                + "\(Format.bytes(predictedPeakMemoryBytes)) of memory planned")
        let rates = learningRates.map(\.rate)
        let peak = rates.max() ?? 0
        let shown = String(format: "%.2e", peak)
        guard rates.contains(where: { $0 < peak }) else {
            return lines + ["learning rate \(shown) throughout"]
        }
        lines.append("learning rate, parts of \(shown), from the first step to the last")
        return lines + TerminalPlot().lines(rates.map { $0 / peak })
    }

    var json: JSON {
        [
            "data": data.json, "trainable_parameters": .int(trainableParameters),
            "predicted_peak_memory_bytes": .int(predictedPeakMemoryBytes),
            "learning_rates": .array(
                learningRates.map { ["step": .int($0.step), "learning_rate": .double($0.rate)] }),
        ]
    }
}
