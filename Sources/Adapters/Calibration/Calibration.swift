public import Foundation
public import LorikeetQuant
public import LorikeetRuntime

/// Quantizes a decoder to the same format as ever with less lost, by what its layers read on a text.
///
/// ```swift
/// let text = try CalibrationText(files: ["prose.txt"], source: checkpoint)
/// let calibration = Calibration(.gptq, text: text)
/// let (report, layers) = try calibration.quantize(checkpoint, to: "nf4", ...)
/// ```
///
/// One block of the model is in memory at a time, and the text's residual stream.
public struct Calibration: Sendable {
    /// How much is done for accuracy.
    public enum Quality: String, Sendable, CaseIterable {
        /// Each block's scale is its absmax: no text is needed.
        case fast
        /// Scales of least error weighted by the inputs' mean squares: one pass of the float model.
        case scales
        /// GPTQ over those scales: one pass of the float model and one of the quantized.
        case gptq
    }

    /// The name of the report in the output's folder.
    public static let reportName = "calibration.json"

    /// How much is done.
    public var quality: Quality
    /// What inputs are measured on.
    public var text: CalibrationText

    /// A calibration on `text`.
    public init(_ quality: Quality, text: CalibrationText) {
        precondition(quality != .fast, "absmax needs no calibration")
        self.quality = quality
        self.text = text
    }

    /// How far it has come.
    public struct Progress: Sendable {
        /// Steps done.
        public var done: Int
        /// Steps in all.
        public var total: Int
        /// The block at work.
        public var block: Int
    }

    /// Quantizes `source`; the folder also holds `calibration.json`.
    ///
    /// - Parameters:
    ///   - source: an unquantized folder or a GGUF file.
    ///   - output: the folder; it appears when it is complete.
    ///   - options: format, exceptions, type of the rest.
    ///   - replace: whether an existing output is replaced.
    ///   - compute: what to run on; its precision is that of the products.
    ///   - tokenizerFiles: tokenizer.json and others by name, for a source that has no such files.
    ///   - progress: called often; what it throws ends the work, and leaves nothing behind.
    /// - Returns: what was written, and what became of each layer.
    /// - Throws: as `quantize`; `.unsupported` for a model that is no decoder.
    public func quantize(
        _ source: any Checkpoint, to output: String, options: QuantizeOptions, replace: Bool,
        compute: Compute, tokenizerFiles: [String: Data] = [:],
        progress: @escaping (Progress) throws -> Void = { _ in }
    ) throws -> (QuantizeReport, CalibrationReport) {
        var report = CalibrationReport(
            quality: quality, files: text.files, windows: text.windows.count,
            tokens: text.tokenCount)
        let written = try LorikeetRuntime.quantize(
            source: source, to: output, options: options, replace: replace, compute: compute,
            tokenizerFiles: tokenizerFiles
        ) { names, take in
            let start = ContinuousClock.now
            try layers(
                source, names, options.configuration, compute, &report, progress, take: take)
            report.seconds = (ContinuousClock.now - start) / .seconds(1)
            return [Self.reportName: report.json.data(pretty: true) + Data("\n".utf8)]
        }
        return (written, report)
    }

    /// Hands each layer of `names` to `take` when it is quantized.
    private func layers(
        _ source: any Checkpoint, _ names: Set<String>, _ configuration: QuantizationConfiguration,
        _ compute: Compute, _ report: inout CalibrationReport,
        _ progress: @escaping (Progress) throws -> Void,
        take: (String, QuantizedTensor) throws -> Void
    ) throws {
        let counter = StepCounter(progress)
        let pass = try CalibrationPass(
            source, windows: text.windows, runsQuantized: quality == .gptq, on: compute,
            progress: counter.step)
        let steps = pass.stepsOfBlock
        let layerCount = pass.configuration.layerCount
        counter.total = layerCount * (quality == .gptq ? steps.gptq : steps.scales)
        for layer in 0..<layerCount {
            counter.block = layer
            let weights = try pass.weights(ofBlock: layer)
            func finish(
                _ path: ModulePath, _ floats: Buffer<Float>, _ tensor: QuantizedTensor,
                outputError: Double
            ) throws {
                report.layers.append(
                    .init(path, floats, tensor, outputError: outputError, on: compute))
                try take("\(path).weight", tensor)
            }
            if quality == .gptq {
                try pass.quantize(block: layer, weights) { paths, moments in
                    try solve(
                        paths.filter { names.contains("\($0).weight") }, of: weights, moments,
                        configuration, compute, finish
                    )
                }
                continue
            }
            let squares = try pass.meanSquares(ofBlock: layer, weights)
            for path in squares.keys.sorted() where names.contains("\(path).weight") {
                guard let importance = squares[path], let matrix = weights[path] else { continue }
                let floats = matrix.dequantizedFloat32(on: compute)
                let tensor = QuantizedTensor(
                    quantizing: floats, shape: [matrix.rows, matrix.columns],
                    importance: importance, configuration: configuration, on: compute)
                try finish(
                    path, floats, tensor,
                    outputError: weightedError(floats, tensor, importance, on: compute))
            }
        }
    }

    /// GPTQ of layers that read one input.
    private func solve(
        _ paths: [ModulePath], of weights: [ModulePath: WeightMatrix], _ moments: InputMoments,
        _ configuration: QuantizationConfiguration, _ compute: Compute,
        _ finish: (ModulePath, Buffer<Float>, QuantizedTensor, Double) throws -> Void
    ) throws -> [ModulePath: WeightMatrix] {
        guard let first = paths.first else { return [:] }
        guard let solver = GPTQ(gram: moments.gram, columns: moments.columns) else {
            throw LorikeetError(
                .malformed, "\(first)", "its inputs on the calibration text are not finite")
        }
        var solved: [ModulePath: WeightMatrix] = [:]
        for path in paths {
            guard let matrix = weights[path] else { continue }
            let floats = matrix.dequantizedFloat32(on: compute)
            let solution = solver.quantize(
                floats,
                shift: moments.isOfOutputs ? .outputs(moments.cross) : .inputs(moments.cross),
                configuration: configuration, on: compute)
            try finish(path, floats, solution.tensor, solution.outputError)
            solved[path] = solution.tensor.weightMatrix()
        }
        return solved
    }

    /// Σ h (w − q)² / Σ h w².
    private func weightedError(
        _ weights: Buffer<Float>, _ tensor: QuantizedTensor, _ importance: Buffer<Float>,
        on compute: Compute
    ) -> Double {
        let stored = tensor.dequantizedFloat32(on: compute)
        let n = importance.count
        let sums = Buffer<SIMD2<Double>>(weights.count / n)
        compute.pool.split(sums.count) { _, begin, end in
            for row in begin..<end {
                var sum = SIMD2<Double>.zero
                for c in 0..<n {
                    let (w, q) = (Double(weights[row * n + c]), Double(stored[row * n + c]))
                    sum += Double(importance[c]) * SIMD2((w - q) * (w - q), w * w)
                }
                sums[row] = sum
            }
        }
        let sum = sums.elements.reduce(.zero, +)
        return sum[1] > 0 ? sum[0] / sum[1] : 0
    }
}

/// Counts the chunks that a pass reports.
private final class StepCounter {
    var total = 0
    var block = 0
    private var done = 0
    private let progress: (Calibration.Progress) throws -> Void

    init(_ progress: @escaping (Calibration.Progress) throws -> Void) { self.progress = progress }

    func step() throws {
        done += 1
        try progress(Calibration.Progress(done: done, total: total, block: block))
    }
}
