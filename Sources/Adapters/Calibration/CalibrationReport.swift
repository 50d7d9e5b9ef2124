import LorikeetQuant
public import LorikeetRuntime

/// What calibrated quantization did to each layer.
public struct CalibrationReport: Sendable {
    /// One layer.
    public struct Layer: Sendable {
        /// The layer.
        public var path: ModulePath
        /// ‖W − Q‖² / ‖W‖².
        public var weightError: Double
        /// The expected squared error of the layer's output over that of its output: with GPTQ of the target for
        /// inputs as the quantized model has them; with `scales` for uncorrelated inputs.
        public var outputError: Double
        /// The smallest and the largest scale as multiples of the block's absmax.
        public var scales: ClosedRange<Double>

        init(
            _ path: ModulePath, _ weights: Buffer<Float>, _ tensor: QuantizedTensor,
            outputError: Double, on compute: Compute
        ) {
            self.path = path
            self.outputError = outputError
            let stored = tensor.dequantizedFloat32(on: compute)
            let (blockSize, decoded) = (tensor.configuration.blockSize, tensor.decodedAbsmax())
            let sums = Buffer<SIMD4<Double>>(decoded.count)
            compute.pool.split(decoded.count, by: 64) { _, begin, end in
                for block in begin..<end {
                    var (error, energy, absmax) = (0.0, 0.0, Float(0))
                    for i in block * blockSize..<min((block + 1) * blockSize, weights.count) {
                        let (w, e) = (Double(weights[i]), Double(weights[i] - stored[i]))
                        (error, energy) = (error + e * e, energy + w * w)
                        absmax = max(absmax, abs(weights[i]))
                    }
                    let multiple = absmax > 0 ? Double(decoded[block] / absmax) : 1
                    sums[block] = SIMD4(error, energy, multiple, 0)
                }
            }
            let sum = sums.elements.reduce(.zero, +)
            weightError = sum[1] > 0 ? sum[0] / sum[1] : 0
            let multiples = sums.elements.lazy.map { $0[2] }
            scales = (multiples.min() ?? 1)...(multiples.max() ?? 1)
        }

        var json: JSON {
            [
                "name": .string(path.description), "weight_error": .double(weightError),
                "output_error": .double(outputError), "least_scale": .double(scales.lowerBound),
                "largest_scale": .double(scales.upperBound),
            ]
        }
    }

    /// `scales` or `gptq`.
    public var quality: Calibration.Quality
    /// The files that the windows are from.
    public var files: [String]
    /// Windows of the text.
    public var windows: Int
    /// Their tokens in all.
    public var tokens: Int
    /// Wall-clock time of measuring and solving.
    public internal(set) var seconds = 0.0
    /// The layers, in the order of a pass.
    public internal(set) var layers: [Layer] = []

    /// What `calibration.json` holds.
    public var json: JSON {
        [
            "quality": .string(quality.rawValue), "files": .array(files.map { .string($0) }),
            "windows": .int(windows), "tokens": .int(tokens), "seconds": .double(seconds),
            "layers": .array(layers.map(\.json)),
        ]
    }
}
