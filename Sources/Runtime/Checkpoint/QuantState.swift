import LorikeetQuant

/// What bitsandbytes stores beside 4-bit codes as packed JSON: `.quant_state.bitsandbytes__nf4`.
struct QuantState: Equatable {
    /// Format, block size, double quantization.
    var configuration: QuantizationConfiguration
    /// The weights' type before they were quantized, as PyTorch names it.
    var dtype: String
    /// The weight's dimensions.
    var shape: [Int]
    /// The mean of the scales, when they are double-quantized.
    var nestedOffset: Float

    /// How many scales there are: one a block, the last of which may be short.
    var blockCount: Int {
        (shape.reduce(1, *) + configuration.blockSize - 1) / configuration.blockSize
    }

    /// What the packed JSON is called after the weight's name.
    static func suffix(_ format: QuantizationFormat) -> String {
        ".quant_state.bitsandbytes__\(format.rawValue)"
    }

    init(configuration: QuantizationConfiguration, dtype: String, shape: [Int], nestedOffset: Float)
    {
        self.configuration = configuration
        self.dtype = dtype
        self.shape = shape
        self.nestedOffset = nestedOffset
    }

    /// Parses and checks the packed JSON of a tensor.
    init(_ tensor: Tensor, format: QuantizationFormat, path: String) throws {
        let json = try JSON(parsing: tensor.bytes, source: "\(path), \(tensor.name)")
        func require<Value>(_ key: String, _ expected: String, _ value: Value?) throws -> Value {
            guard let value else {
                throw LorikeetError(
                    .malformed, path, "\(tensor.name): \(key) is not what it must be",
                    expected: expected, got: json[key]?.text() ?? "nothing")
            }
            return value
        }
        _ = try require(
            "quant_type", format.rawValue,
            json["quant_type"]?.string == format.rawValue ? format : nil)
        let blockSize = try require(
            "blocksize", "one of \(QuantizationConfiguration.blockSizes)",
            json["blocksize"]?.int.flatMap {
                QuantizationConfiguration.blockSizes.contains($0) ? $0 : nil
            })
        shape = try require(
            "shape", "a list of natural numbers",
            json["shape"]?.array.flatMap { list in
                let shape = list.compactMap(\.int)
                // The product below half of Int leaves room for rounding up to whole blocks.
                let isSound = elementCount(of: shape).map { $0 <= Int.max / 2 } ?? false
                return shape.count == list.count && isSound ? shape : nil
            })
        dtype = try require("dtype", "the name of a type", json["dtype"]?.string)
        let isNested = json["nested_blocksize"] != nil
        if isNested {
            _ = try require(
                "nested_blocksize", "\(NestedAbsmax.blockSize)",
                json["nested_blocksize"]?.int == NestedAbsmax.blockSize ? 0 : nil)
            _ = try require(
                "nested_dtype", "float32", json["nested_dtype"]?.string == "float32" ? 0 : nil)
            nestedOffset = try require(
                "nested_offset", "a number",
                json["nested_offset"]?.double.map { Float($0) })
        } else {
            nestedOffset = 0
        }
        configuration = QuantizationConfiguration(
            format: format, blockSize: blockSize, doubleQuantization: isNested)
    }

    /// The packed JSON, byte for byte as Python's json writes it for bitsandbytes.
    var bytes: [UInt8] {
        let dimensions = shape.map(String.init).joined(separator: ", ")
        var text =
            "{\"quant_type\": \"\(configuration.format.rawValue)\", "
            + "\"blocksize\": \(configuration.blockSize), \"dtype\": \"\(dtype)\", "
            + "\"shape\": [\(dimensions)]"
        if configuration.doubleQuantization {
            // Python holds the offset as a double, and prints the shortest text that reads back to it.
            text +=
                ", \"nested_blocksize\": \(NestedAbsmax.blockSize), "
                + "\"nested_dtype\": \"float32\", \"nested_offset\": \(pythonText(Double(nestedOffset)))"
        }
        return Array((text + "}").utf8)
    }
}

/// A number as Python prints it: digits as Swift's, but plain from 1e-4 and with two digits of exponent.
func pythonText(_ value: Double) -> String {
    let text = "\(value)"
    guard let mark = text.firstIndex(of: "e"), let exponent = Int(text[text.index(after: mark)...])
    else { return text }
    var digits = String(text[..<mark])
    if digits.hasSuffix(".0") { digits.removeLast(2) }
    let sign = exponent < 0 ? "-" : "+"
    return "\(digits)e\(sign)\(abs(exponent) < 10 ? "0" : "")\(abs(exponent))"
}
