import Foundation
import LorikeetQuant
import OrderedCollections
import QuantKernels

/// Writes the tensors of a quantized checkpoint, in one file or in shards, one tensor at a time.
///
/// A quantized tensor is written while the next one is quantized: one thread fills the system's buffers,
/// and the disk reads and writes without a pause.
final class QuantizedWeightsWriter {
    private let plan: QuantizationPlan
    private let source: any Checkpoint
    private let copied: HuggingFaceFolder?
    private let compute: Compute
    /// Bytes of the files written.
    private(set) var fileBytes = 0

    /// - copied: where the plan's copied tensors are.
    init(
        _ plan: QuantizationPlan, source: any Checkpoint, copied: HuggingFaceFolder? = nil,
        compute: Compute
    ) {
        self.plan = plan
        self.source = source
        self.copied = copied
        self.compute = compute
    }

    /// Writes model.safetensors, or shards and their index.
    ///
    /// - Returns: the bytes of all tensors.
    func write(
        to folder: String, shardLimit: Int, progress: (QuantizeProgress) -> Void
    ) throws -> Int {
        let items = try plan.items.map { ($0, try parts(of: $0)) }
        let shards = Self.shards(items, limit: shardLimit)
        var done = 0
        var tensorBytes = 0
        var weightMap: OrderedDictionary<String, JSON> = [:]
        for (index, shard) in shards.enumerated() {
            let name = shards.count == 1 ? "model.safetensors" : Self.name(index, of: shards.count)
            let path = "\(folder)/\(name)"
            let variable = shard.compactMap(\.parts.quantState)
            try SafetensorsWriter.write(
                to: path, shard.flatMap(\.parts.tensors),
                variable: Dictionary(
                    uniqueKeysWithValues: variable.map { ($0, Self.quantStateLimit) })
            ) { file in
                func finish(_ item: QuantizationPlan.Item, bytes: Int) {
                    tensorBytes += bytes
                    done += 1
                    progress(
                        QuantizeProgress(tensors: done, total: items.count, name: item.name))
                }
                var quantized: (item: QuantizationPlan.Item, tensor: QuantizedTensor)?
                func writeQuantized() throws {
                    guard let (item, tensor) = quantized else { return }
                    quantized = nil
                    finish(item, bytes: try write(tensor, of: item, to: file))
                }
                for (item, parts) in shard {
                    for tensor in parts.tensors { weightMap[tensor.name] = .string(name) }
                    if let quantState = parts.quantState { weightMap[quantState] = .string(name) }
                    if item.storage == .quantized {
                        let last = quantized
                        var written = Result<Int, any Error>.success(0)
                        quantized = (
                            item,
                            try quantize(item) {
                                guard let last else { return }
                                written = Result {
                                    try self.write(last.tensor, of: last.item, to: file)
                                }
                            }
                        )
                        if let last { finish(last.item, bytes: try written.get()) }
                    } else {
                        try writeQuantized()
                        finish(
                            item,
                            bytes: item.storage == .copied
                                ? try copy(item, to: file) : try writeFloats(item, to: file))
                    }
                    try source.tensor(item.name).releasePages()
                }
                try writeQuantized()
            }
            fileBytes += try MappedFile(path: path).bytes.count
        }
        guard shards.count > 1 else { return tensorBytes }
        weightMap.sort { $0.key < $1.key }
        let index: JSON = [
            "metadata": [
                "total_parameters": .int(plan.parameters), "total_size": .int(tensorBytes),
            ],
            "weight_map": .object(weightMap),
        ]
        try AtomicOutput.write(
            index.fileData(), to: "\(folder)/model.safetensors.index.json")
        return tensorBytes
    }

    /// Writes model.safetensors with layers that `layers` quantizes, as they come.
    ///
    /// - Returns: the bytes of all tensors, and what `layers` lays beside them.
    func write(
        to folder: String, layers: LayerQuantizer
    ) throws -> (tensorBytes: Int, files: [String: Data]) {
        let parts = try plan.items.map(parts(of:))
        let path = "\(folder)/model.safetensors"
        let variable = parts.compactMap(\.quantState)
        var tensorBytes = 0
        var files: [String: Data] = [:]
        try SafetensorsWriter.write(
            to: path, parts.flatMap(\.tensors),
            variable: Dictionary(uniqueKeysWithValues: variable.map { ($0, Self.quantStateLimit) })
        ) { file in
            var awaited: [String: QuantizationPlan.Item] = [:]
            for item in plan.items {
                if item.isQuantized {
                    awaited[item.name] = item
                } else {
                    tensorBytes += try writeFloats(item, to: file)
                    try source.tensor(item.name).releasePages()
                }
            }
            func take(_ name: String, _ tensor: QuantizedTensor) throws {
                guard let item = awaited.removeValue(forKey: name) else {
                    preconditionFailure("the layer \(name) is not awaited")
                }
                tensorBytes += try write(tensor, of: item, to: file)
                try source.tensor(name).releasePages()
            }
            files = try layers(Set(awaited.keys), take)
            for item in plan.items where awaited[item.name] != nil {
                try take(item.name, quantize(item) {})
            }
        }
        fileBytes += try MappedFile(path: path).bytes.count
        return (tensorBytes, files)
    }

    /// What one source tensor becomes.
    private struct Parts {
        var tensors: [TensorDescription]
        /// The name of the packed JSON, whose length is known only after quantizing.
        var quantState: String?
        var byteCount: Int {
            tensors.reduce(quantState == nil ? 0 : quantStateLimit) { $0 + $1.byteCount }
        }
    }

    /// More than any quant state takes: two dimensions and two floats of at most 25 digits.
    private static let quantStateLimit = 512

    private func parts(of item: QuantizationPlan.Item) throws -> Parts {
        let name = item.name
        switch item.storage {
        case .floats:
            return Parts(tensors: [
                TensorDescription(name: name, type: plan.dtype, shape: item.shape)
            ])
        case .copied:
            return Parts(
                tensors: try storedParts(of: item).map {
                    TensorDescription(name: $0.name, type: $0.type, shape: $0.shape)
                })
        case .quantized: break
        }
        let configuration = plan.options.configuration
        let blocks = (item.count + configuration.blockSize - 1) / configuration.blockSize
        var tensors = [
            TensorDescription(name: name, type: .u8, shape: [(item.count + 1) / 2, 1]),
            TensorDescription(name: name + ".quant_map", type: .f32, shape: [16]),
        ]
        if configuration.doubleQuantization {
            let nested = (blocks + NestedAbsmax.blockSize - 1) / NestedAbsmax.blockSize
            tensors += [
                TensorDescription(name: name + ".absmax", type: .u8, shape: [blocks]),
                TensorDescription(name: name + ".nested_absmax", type: .f32, shape: [nested]),
                TensorDescription(name: name + ".nested_quant_map", type: .f32, shape: [256]),
            ]
        } else {
            tensors.append(TensorDescription(name: name + ".absmax", type: .f32, shape: [blocks]))
        }
        return Parts(tensors: tensors, quantState: name + QuantState.suffix(configuration.format))
    }

    /// Consecutive items, a new shard when the next would pass the limit, as transformers cuts them.
    private static func shards(
        _ items: [(item: QuantizationPlan.Item, parts: Parts)], limit: Int
    ) -> [[(item: QuantizationPlan.Item, parts: Parts)]] {
        var shards: [[(item: QuantizationPlan.Item, parts: Parts)]] = [[]]
        var bytes = 0
        for item in items {
            let added = item.parts.byteCount
            if bytes > 0, bytes + added > limit {
                shards.append([])
                bytes = 0
            }
            shards[shards.count - 1].append(item)
            bytes += added
        }
        return shards
    }

    private static func name(_ index: Int, of count: Int) -> String {
        func digits(_ number: Int) -> String {
            let text = String(number)
            return String(repeating: "0", count: max(0, 5 - text.count)) + text
        }
        return "model-\(digits(index + 1))-of-\(digits(count)).safetensors"
    }

    private func quantize(
        _ item: QuantizationPlan.Item, alongside: () -> Void
    ) throws -> QuantizedTensor {
        let (rows, columns) = (item.shape[0], item.shape[1])
        var weights = try source.weights(item.name, rows: rows, columns: columns)
        // In 4 bits already, and to be in others.
        if weights.isQuantized {
            weights = WeightMatrix(floats: try floats(item), rows: rows, columns: columns)
        }
        return QuantizedTensor(
            quantizing: weights, configuration: plan.options.configuration, on: compute,
            alongside: alongside)
    }

    private func storedParts(of item: QuantizationPlan.Item) throws -> [Tensor] {
        guard let copied else { preconditionFailure("no folder to copy \(item.name) from") }
        return try copied.parts(of: item.name)
    }

    private func copy(_ item: QuantizationPlan.Item, to file: SafetensorsWriter) throws -> Int {
        try storedParts(of: item).reduce(0) { bytes, part in
            try file.write(part, as: part.name)
            return bytes + part.bytes.count
        }
    }

    /// Writes all parts of one tensor; returns their bytes.
    private func write(
        _ tensor: QuantizedTensor, of item: QuantizationPlan.Item, to file: SafetensorsWriter
    ) throws -> Int {
        var state = QuantState(
            configuration: tensor.configuration, dtype: plan.dtypeName, shape: item.shape,
            nestedOffset: 0)
        let name = item.name
        let codebook = tensor.configuration.format.codebook
        try file.write(tensor.packed, as: name)
        try file.write(codebook, as: name + ".quant_map")
        var bytes = tensor.packed.count + codebook.count * 4
        switch tensor.absmax {
        case .plain(let absmax):
            try requireFinite(absmax.elements.allSatisfy(\.isFinite), name)
            try file.write(absmax, as: name + ".absmax")
            bytes += absmax.count * 4
        case .nested(let nested):
            try requireFinite(nested.offset.isFinite, name)
            state.nestedOffset = nested.offset
            try file.write(nested.codes, as: name + ".absmax")
            try file.write(nested.nestedAbsmax, as: name + ".nested_absmax")
            try file.write(DynamicMap.values, as: name + ".nested_quant_map")
            bytes += nested.codes.count + nested.nestedAbsmax.count * 4 + 1024
        }
        let packed = state.bytes
        try file.write(packed, as: name + QuantState.suffix(tensor.configuration.format))
        return bytes + packed.count
    }

    private func writeFloats(
        _ item: QuantizationPlan.Item, to file: SafetensorsWriter
    ) throws -> Int {
        let stored = try source.tensor(item.name)
        // With bnb_4bit_quant_storage packed codes have a float's type, but not the matrix's shape.
        if source is HuggingFaceFolder, stored.type == plan.dtype, stored.shape == item.shape {
            try file.write(stored, as: item.name)
            return stored.bytes.count
        }
        if plan.dtype == .f32 {
            try file.write(floats(item), as: item.name)
            return item.count * 4
        }
        try file.write(halves(item), as: item.name)
        return item.count * 2
    }

    private func floats(_ item: QuantizationPlan.Item) throws -> Buffer<Float> {
        let floats = Buffer<Float>(uninitialized: item.count)
        try source.floats(item.name, into: floats.pointer)
        return floats
    }

    /// The tensor in the plan's 16-bit type, a large one by way of no fp32 copy.
    private func halves(_ item: QuantizationPlan.Item) throws -> Buffer<UInt16> {
        let weights =
            item.shape.count == 2 && item.count > 0
            ? try source.weights(item.name, rows: item.shape[0], columns: item.shape[1])
            : WeightMatrix(floats: try floats(item), rows: 1, columns: item.count)
        let halves = Buffer<UInt16>(uninitialized: item.count)
        let kernels = compute.kernels
        let convert = plan.dtype == .f16 ? kernels.f16_from_f32 : kernels.bf16_from_f32
        let piece = 65_536
        compute.pool.run(pieces: (item.count + piece - 1) / piece) { thread, index in
            let begin = index * piece
            let count = min(piece, item.count - begin)
            let floats = compute.scratch(thread)
            withUnsafePointer(to: weights.raw) {
                kernels.dequantize_f32($0, begin, count, floats)
            }
            convert?(floats, count, halves.pointer + begin)
        }
        return halves
    }

    /// NaN or infinity in a weight leaves a scale, and so their mean, not finite.
    private func requireFinite(_ isFinite: Bool, _ name: String) throws {
        guard !isFinite else { return }
        throw LorikeetError(.malformed, source.path, "the tensor \(name) holds NaN or infinity")
    }
}
