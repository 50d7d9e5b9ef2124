import Foundation
import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime
import Testing

/// The model that the adapters in Resources were made for, by PEFT 0.21.2 with random factors.
let smallModel = ModelConfiguration(
    hiddenSize: 32, intermediateSize: 48, layerCount: 2, headCount: 4, keyValueHeadCount: 2,
    headSize: 8, vocabularySize: 64, maximumPositions: 64, normEpsilon: 1e-6, ropeTheta: 10000,
    ropeScaling: nil, tiesEmbeddings: true)

/// A PEFT folder in Resources: plain, patterns, regex_bf16, all_linear_f16.
func resource(_ name: String) throws -> String {
    try #require(Bundle.module.path(forResource: "Resources/" + name, ofType: nil))
}

/// A folder that goes with its owner.
final class TemporaryFolder {
    let path: String

    init() throws {
        path = NSTemporaryDirectory() + "lorikeet-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// The path of `name` within.
    subscript(name: String) -> String { path + "/" + name }

    /// The names within.
    var names: [String] {
        (try? FileManager.default.contentsOfDirectory(atPath: path).sorted()) ?? []
    }
}

func contents(_ path: String) throws -> [UInt8] {
    [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
}

func write(_ bytes: [UInt8], to path: String) throws {
    try Data(bytes).write(to: URL(fileURLWithPath: path))
}

/// A tensor to be written as it is, right or wrong.
struct RawTensor {
    var name: String
    var type = "F32"
    var shape: [Int]
    var bytes: [UInt8]

    init(_ name: String, _ shape: [Int], _ values: [Float]) {
        self.name = name
        self.shape = shape
        bytes = values.flatMap { value in
            withUnsafeBytes(of: value.bitPattern.littleEndian) { Array($0) }
        }
    }

    /// A tensor of `shape` with equal elements.
    init(_ name: String, _ shape: [Int], filledWith value: Float) {
        self.init(name, shape, [Float](repeating: value, count: shape.reduce(1, *)))
    }
}

/// A safetensors file of these tensors.
func safetensors(_ tensors: [RawTensor]) -> [UInt8] {
    var entries: [String] = []
    var data: [UInt8] = []
    for tensor in tensors {
        let start = data.count
        data += tensor.bytes
        entries.append(
            "\"\(tensor.name)\":{\"dtype\":\"\(tensor.type)\",\"shape\":\(tensor.shape),"
                + "\"data_offsets\":[\(start),\(data.count)]}")
    }
    let header = Array("{\(entries.joined(separator: ","))}".utf8)
    return withUnsafeBytes(of: UInt64(header.count).littleEndian) { Array($0) } + header + data
}

/// Writes a PEFT folder of these tensors; `settings` change the plain adapter's configuration.
func writeFolder(
    _ path: String, _ tensors: [RawTensor], settings: [(String, JSON)] = []
) throws {
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    var configuration = try JSON(contentsOf: resource("plain") + "/adapter_config.json")
    for (key, value) in settings { configuration[key] = value }
    try write([UInt8](configuration.data()), to: path + "/adapter_config.json")
    try write(safetensors(tensors), to: path + "/adapter_model.safetensors")
}

/// Factors of rank 4 at q_proj of both layers, every element 1, and the settings that go with them.
func queryFactors() -> [RawTensor] {
    (0..<2).flatMap { layer in
        let name = "base_model.model.model.layers.\(layer).self_attn.q_proj"
        return [
            RawTensor("\(name).lora_A.weight", [4, 32], filledWith: 1),
            RawTensor("\(name).lora_B.weight", [32, 4], filledWith: 1),
        ]
    }
}

let queryTargets: (String, JSON) = ("target_modules", ["q_proj"])

/// The error that `body` throws.
func failure(
    _ body: () throws -> Void, sourceLocation: SourceLocation = #_sourceLocation
) throws -> LorikeetError {
    try #require(throws: LorikeetError.self, sourceLocation: sourceLocation, performing: body)
}

/// SHA-256 as the manifest writes it.
func sha256(_ bytes: [UInt8]) -> String { Digest.sha256(bytes) }
