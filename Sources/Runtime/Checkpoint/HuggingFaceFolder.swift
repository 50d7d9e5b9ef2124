public import Foundation
public import LorikeetQuant
import QuantKernels

/// A Hugging Face folder: config.json, safetensors in one file or in shards, and what lies beside.
///
/// Weights are fp32, fp16, bf16, or 4-bit as transformers saves them with bitsandbytes.
public struct HuggingFaceFolder: Checkpoint {
    /// The folder.
    public let path: String
    /// The contents of config.json.
    public let configuration: JSON
    /// The weights' names, in the order of the files.
    public let tensorNames: [String]
    /// Everything that the files hold, in their order, the parts of 4-bit weights among them.
    let stored: [Tensor]
    private let tensors: [String: Tensor]
    private let quantized: [String: QuantizationFormat]

    /// Maps the folder's files and checks their headers; weights are read on demand.
    ///
    /// - Throws: `.notFound`, `.malformed`, `.unsupported`.
    public init(path: String) throws {
        self.path = path
        let configPath = Self.join(path, "config.json")
        guard FileManager.default.fileExists(atPath: configPath) else {
            throw LorikeetError(
                .notFound, path, "no config.json in the folder",
                advice: FileManager.default.fileExists(
                    atPath: Self.join(path, "adapter_config.json"))
                    ? "This is an adapter: pass it with --adapter, and its base with --model." : nil
            )
        }
        configuration = try JSON(contentsOf: configPath)
        guard configuration.object != nil else {
            throw LorikeetError(.malformed, configPath, "no JSON object")
        }
        try Self.requireKnownQuantization(configuration, configPath)

        stored = try Self.storedTensors(path)
        var tensors: [String: Tensor] = [:]
        for tensor in stored { tensors[tensor.name] = tensor }
        self.tensors = tensors
        quantized = try FourBitTensor.formats(in: stored, path: path)
        let companions = FourBitTensor.companions(of: quantized)
        tensorNames = stored.map(\.name).filter { !companions.contains($0) }
    }

    /// A tensor as stored; of a 4-bit weight, its packed codes.
    public func tensor(_ name: String) throws -> Tensor {
        guard let tensor = tensors[name] else { throw missing(name) }
        return tensor
    }

    /// The tensor's shape; of a 4-bit weight, that of the matrix it holds.
    public func shape(of name: String) throws -> [Int] {
        try fourBit(name)?.state.shape ?? tensor(name).shape
    }

    /// How the matrix is held: in place; of a 4-bit weight, the scales are decoded.
    public func layout(of name: String) throws -> WeightLayout {
        guard let state = try fourBit(name)?.state else {
            return try tensor(name).layout(path: path)
        }
        guard state.shape.count == 2 else {
            throw LorikeetError(
                .mismatch, path, "the tensor \(name) is no matrix", got: "\(state.shape)")
        }
        return WeightLayout(
            rows: state.shape[0], columns: state.shape[1],
            storage: .fourBit(blockSize: state.configuration.blockSize))
    }

    /// The matrix, mapped in place; of a 4-bit weight, the scales are decoded.
    public func weights(_ name: String, rows: Int, columns: Int) throws -> WeightMatrix {
        try require(name, shape: [rows, columns])
        if let fourBit = try fourBit(name) {
            return try fourBit.weightMatrix(rows: rows, columns: columns)
        }
        return try tensor(name).weightMatrix(rows: rows, columns: columns, path: path)
    }

    /// The tensor as fp32.
    public func floats(_ name: String, into output: UnsafeMutablePointer<Float>) throws {
        guard let fourBit = try fourBit(name) else {
            return try tensor(name).floats(into: output, path: path)
        }
        let count = fourBit.state.shape.reduce(1, *)
        guard count > 0 else { return }
        let matrix = try fourBit.weightMatrix(rows: 1, columns: count)
        withUnsafePointer(to: matrix.raw) {
            InstructionSet.current.kernels.dequantize_f32($0, 0, count, output)
        }
    }

    /// The contents of a file of the folder; nil when there is none of that name.
    public func file(_ name: String) throws -> Data? {
        let path = Self.join(path, name)
        guard FileManager.default.fileExists(atPath: path) else { return nil }
        let file = try MappedFile(path: path)
        return withExtendedLifetime(file) { Data(file.bytes) }
    }

    /// Whether any weight is stored in 4 bits.
    public var isQuantized: Bool { !quantized.isEmpty }

    /// How the weight `name` is quantized; nil for one that is not.
    ///
    /// - Throws: `.malformed` for a weight whose parts are missing or contradict each other.
    public func quantization(of name: String) throws -> QuantizationConfiguration? {
        try fourBit(name)?.state.configuration
    }

    /// The parts that a 4-bit weight is stored in, the codes first; none for another.
    func parts(of name: String) throws -> [Tensor] {
        guard let format = quantized[name] else { return [] }
        let companions = FourBitTensor.partSuffixes + [QuantState.suffix(format)]
        return try [tensor(name)] + companions.compactMap { tensors[name + $0] }
    }

    private func fourBit(_ name: String) throws -> FourBitTensor? {
        guard let format = quantized[name] else { return nil }
        return try FourBitTensor(name, format: format, in: tensors, path: path)
    }

    private static func join(_ folder: String, _ name: String) -> String {
        folder.hasSuffix("/") ? folder + name : "\(folder)/\(name)"
    }

    private static func requireKnownQuantization(_ configuration: JSON, _ path: String) throws {
        guard let quantization = configuration["quantization_config"], !quantization.isNull else {
            return
        }
        let method = quantization["quant_method"]?.string ?? "bitsandbytes"
        let is8Bit = quantization["load_in_8bit"]?.bool ?? false
        guard method == "bitsandbytes", !is8Bit else {
            throw LorikeetError(
                .unsupported, path, "the model is quantized in a way that Lorikeet does not read",
                expected: "bitsandbytes 4-bit", got: is8Bit ? "bitsandbytes 8-bit" : method,
                advice: "Start from the unquantized model.")
        }
    }
}

/// The files that hold the tensors.
extension HuggingFaceFolder {
    private static func storedTensors(_ folder: String) throws -> [Tensor] {
        let single = join(folder, "model.safetensors")
        if FileManager.default.fileExists(atPath: single) {
            return try SafetensorsFile(path: single).tensors
        }
        let index = join(folder, "model.safetensors.index.json")
        guard FileManager.default.fileExists(atPath: index) else {
            throw LorikeetError(
                .notFound, folder,
                "neither model.safetensors nor model.safetensors.index.json in the folder",
                advice: "Weights in PyTorch's own format must be saved as safetensors first.")
        }
        return try shardedTensors(folder, index: index)
    }

    /// The tensors of the index's `weight_map`, each from the shard it names.
    ///
    /// What else a shard holds is left alone, and `metadata.total_size` is not relied on.
    private static func shardedTensors(_ folder: String, index path: String) throws -> [Tensor] {
        guard let map = try JSON(contentsOf: path)["weight_map"]?.object else {
            throw LorikeetError(.malformed, path, "no weight_map")
        }
        var shards: [String: [String: Tensor]] = [:]
        return try map.map { name, value in
            guard let shard = value.string, isPlainFileName(shard) else {
                throw LorikeetError(
                    .malformed, path, "weight_map: \(name) names no file of the folder",
                    expected: "the name of a .safetensors file", got: value.text())
            }
            if shards[shard] == nil {
                let file = try SafetensorsFile(path: join(folder, shard))
                shards[shard] = Dictionary(uniqueKeysWithValues: file.tensors.map { ($0.name, $0) })
            }
            guard let tensor = shards[shard]?[name] else {
                throw LorikeetError(
                    .malformed, path, "weight_map: there is no tensor \(name) in \(shard)")
            }
            return tensor
        }
    }

    /// Whether a name from the index stays in the folder.
    private static func isPlainFileName(_ name: String) -> Bool {
        name.hasSuffix(".safetensors") && !name.utf8.contains { $0 == UInt8(ascii: "/") || $0 == 0 }
    }
}
