import Foundation
import LorikeetQuant
import OrderedCollections

/// What a file or folder of weights holds, without reading the weights.
public struct Inspection: Sendable {
    /// One weight.
    public struct Entry: Sendable, Equatable {
        /// The name in the file.
        public var name: String
        /// `F32`, `Q4_1`, …; `NF4` or `FP4` for bitsandbytes' 4-bit weights, `NF4+DQ` when their scales
        /// are quantized too.
        public var type: String
        /// What it holds, outermost dimension first.
        public var shape: [Int]
        /// What it takes, a 4-bit weight's scales and tables among it.
        public var bytes: Int

        /// The number of elements.
        public var parameters: Int { shape.reduce(1, *) }
    }

    /// The path.
    public var path: String
    /// `Hugging Face folder`, `GGUF` or `safetensors`.
    public var kind: String
    /// The architecture its configuration names, if it has one.
    public var architecture: String?
    /// The weights, in the files' order.
    public var entries: [Entry]
    /// Bytes of the files.
    public var fileBytes: Int
    /// config.json, or a file's metadata; long lists are given by their length.
    public var metadata: JSON.Object

    /// The number of weights.
    public var parameters: Int { entries.reduce(0) { $0 + $1.parameters } }

    /// Bits a weight, over all tensors.
    public var bitsPerParameter: Double {
        8 * Double(entries.reduce(0) { $0 + $1.bytes }) / Double(max(parameters, 1))
    }
}

/// Inspects a Hugging Face folder, a .gguf or a .safetensors file.
///
/// - Throws: what opening it throws; `.unsupported` for something else.
public func inspect(_ path: String) throws -> Inspection {
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
        throw LorikeetError(.notFound, path, "there is no such file or folder")
    }
    if isFolder.boolValue { return try Inspection(folder: path) }
    if path.hasSuffix(".gguf") { return try Inspection(gguf: path) }
    if path.hasSuffix(".safetensors") { return try Inspection(safetensors: path) }
    throw LorikeetError(
        .unsupported, path, "nothing that can be inspected",
        expected: "a Hugging Face folder, a .gguf or a .safetensors file")
}

extension Inspection {
    fileprivate init(folder path: String) throws {
        let folder = try HuggingFaceFolder(path: path)
        let configuration = folder.configuration
        self.init(
            path: path, kind: "Hugging Face folder",
            architecture: configuration["architectures"]?.array?.first?.string
                ?? configuration["model_type"]?.string,
            entries: try Self.entries(folder.stored, path),
            fileBytes: folder.stored.fileBytes,
            metadata: configuration.object ?? [:])
    }

    fileprivate init(safetensors path: String) throws {
        let file = try SafetensorsFile(path: path)
        let metadata = file.metadata.sorted { $0.key < $1.key }.map { ($0, JSON.string($1)) }
        self.init(
            path: path, kind: "safetensors", architecture: nil,
            entries: try Self.entries(file.tensors, path), fileBytes: file.tensors.fileBytes,
            metadata: JSON.Object(OrderedDictionary(uniqueKeysWithValues: metadata)))
    }

    fileprivate init(gguf path: String) throws {
        let file = try GGUFFile(path: path)
        self.init(
            path: path, kind: "GGUF", architecture: file.metadata["general.architecture"]?.string,
            entries: try Self.entries(file.tensors, path), fileBytes: file.tensors.fileBytes,
            metadata: JSON.Object(
                file.metadata.mapValues { value in
                    guard let list = value.array, list.count > 16 else { return value }
                    return .string("\(list.count) elements")
                }))
    }

    /// One entry a weight; the parts of a 4-bit weight are counted with it.
    private static func entries(_ stored: [Tensor], _ path: String) throws -> [Entry] {
        let quantized = try FourBitTensor.formats(in: stored, path: path)
        let hidden = FourBitTensor.companions(of: quantized)
        let tensors = Dictionary(stored.map { ($0.name, $0) }) { first, _ in first }
        return try stored.filter { !hidden.contains($0.name) }.map { tensor in
            guard let format = quantized[tensor.name] else {
                return Entry(
                    name: tensor.name, type: tensor.type.rawValue, shape: tensor.shape,
                    bytes: tensor.bytes.count)
            }
            let weight = try FourBitTensor(tensor.name, format: format, in: tensors, path: path)
            let parts = FourBitTensor.companions(of: [tensor.name: format])
            let isNested = weight.state.configuration.doubleQuantization
            return Entry(
                name: tensor.name, type: format.rawValue.uppercased() + (isNested ? "+DQ" : ""),
                shape: weight.state.shape,
                bytes: parts.reduce(tensor.bytes.count) { $0 + (tensors[$1]?.bytes.count ?? 0) })
        }
    }
}

extension Inspection: CustomStringConvertible {
    /// Tensors, parameters and bytes of one type.
    private struct Total {
        var type: String
        var tensors = 0
        var parameters = 0
        var bytes = 0
    }

    private var totals: [Total] {
        var totals: OrderedDictionary<String, Total> = [:]
        for entry in entries {
            totals[entry.type, default: Total(type: entry.type)].tensors += 1
            totals[entry.type]?.parameters += entry.parameters
            totals[entry.type]?.bytes += entry.bytes
        }
        return totals.values.sorted { $0.parameters > $1.parameters }
    }

    /// The inspection as one JSON object.
    public var json: JSON {
        [
            "path": .string(path), "kind": .string(kind),
            "architecture": architecture.map { .string($0) } ?? nil,
            "parameters": .int(parameters), "bits_per_parameter": .double(bitsPerParameter),
            "bytes": .int(fileBytes),
            "types": .object(
                OrderedDictionary(
                    uniqueKeysWithValues: totals.map { total in
                        (
                            total.type,
                            [
                                "tensors": .int(total.tensors),
                                "parameters": .int(total.parameters),
                                "bytes": .int(total.bytes),
                            ]
                        )
                    })),
            "tensors": .array(
                entries.map { entry in
                    [
                        "name": .string(entry.name), "type": .string(entry.type),
                        "shape": .array(entry.shape.map { .int($0) }), "bytes": .int(entry.bytes),
                    ]
                }),
            "metadata": .object(metadata),
        ]
    }

    /// A summary, a line a type, then a line a tensor.
    public var description: String {
        var lines = [
            "\(path): \(kind)\(architecture.map { ", \($0)" } ?? "")",
            "\(parameters) parameters, \(String(format: "%.3f", bitsPerParameter)) bits each, "
                + "\(Self.megabytes(fileBytes)) in files",
            "",
        ]
        for total in totals {
            lines.append(
                Self.columns(
                    total.type, "\(total.tensors) tensors", "\(total.parameters) parameters",
                    Self.megabytes(total.bytes)))
        }
        lines.append("")
        for entry in entries {
            lines.append(
                Self.columns(
                    entry.type, entry.shape.map(String.init).joined(separator: " × "),
                    Self.megabytes(entry.bytes), entry.name))
        }
        return lines.joined(separator: "\n")
    }

    private static func columns(_ cells: String...) -> String {
        let widths = [8, 16, 24]
        let padded = cells.enumerated().map { index, cell in
            guard index < widths.count else { return cell }
            return cell + String(repeating: " ", count: max(0, widths[index] - cell.count))
        }
        return padded.joined(separator: " ")
    }

    private static func megabytes(_ bytes: Int) -> String {
        String(format: "%.3f MB", Double(bytes) / 1e6)
    }
}
