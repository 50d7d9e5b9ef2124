// The RefLoRA paper's matrix factorization (figure 1) into the SVG file that the argument names: the loss of LoRA,
// ScaledGD and RefLoRA at a learning rate that LoRA can take and at one that it cannot, from five starts.
// The experiment is that of Tests/AdaptersTests.
import Foundation
import LorikeetAdapters

let (rates, seeds, iterations) = ([0.01, 0.03], UInt64(1)...5, 100)

let charts = try rates.map { rate in
    let series = try MatrixFactorization.Descent.allCases.map { descent in
        let runs = try seeds.map { seed -> [Double] in
            let losses = try MatrixFactorization(rate: rate, seed: seed)
                .losses(descent, iterations: iterations)
            let reached = losses.firstIndex { $0 < 1e-3 }.map(String.init) ?? "-"
            print("\(descent.rawValue)\t\(rate)\tseed \(seed)\tbelow 1e-3 after \(reached)")
            // What rounding leaves in fp64 of a loss that began at 1e3 is no loss.
            return losses.map { $0 > 1e-26 ? $0 : .nan }
        }
        let count = runs.map(\.count).min() ?? 0
        let columns = (0..<count).map { index in runs.map { $0[index] } }
            .prefix { $0.allSatisfy(\.isFinite) }
        return ChartSeries(
            descent.rawValue,
            columns.enumerated().map { index, values in
                // Losses lie decades apart: their geometric mean.
                let mean = exp(values.map { log($0) }.reduce(0, +) / Double(values.count))
                return ChartSeries.Point(Double(index), mean)
            },
            band: columns.enumerated().map { index, values in
                ChartSeries.Extent(Double(index), values.min() ?? .nan, values.max() ?? .nan)
            })
    }
    return LineChart(
        "Matrix factorization, learning rate \(rate)", x: ChartAxis("iteration"),
        y: ChartAxis("½ ‖B A − M‖²", scale: .logarithmic, maximum: 1e7), series: series)
}
try Data(ChartSheet(charts).svg.utf8).write(to: URL(filePath: CommandLine.arguments[1]))
