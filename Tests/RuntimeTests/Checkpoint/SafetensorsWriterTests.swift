import Foundation
import LorikeetQuant
import LorikeetRuntime
import TestSupport
import Testing

@Suite struct `The safetensors writer` {
    private static let tensors = [
        TensorDescription(name: "z", type: .f32, shape: [3]),
        TensorDescription(name: "b", type: .u8, shape: [5]),
        TensorDescription(name: "a", type: .bf16, shape: [1, 1]),
        TensorDescription(name: "c", type: .f32, shape: []),
        TensorDescription(name: "empty", type: .f32, shape: [0, 4]),
        TensorDescription(name: "i", type: .i64, shape: [1]),
    ]

    private func write(to path: String) throws {
        try SafetensorsWriter.write(to: path, Self.tensors) { file in
            try file.write([UInt8](1...5), as: "b")
            try file.write([Float](), as: "empty")
            try file.write([1.5, -2, 3] as [Float], as: "z")
            try file.write([UInt16(0x3F80)], as: "a")
            try file.write([Int64(-1)], as: "i")
            try file.write([Float(7)], as: "c")
        }
    }

    @Test func `orders and pads as the official library does`() throws {
        try Fixtures.withTemporaryFolder { folder in
            let path = folder + "/x.safetensors"
            try write(to: path)
            let bytes = try Data(contentsOf: URL(filePath: path))
            // As safetensors 0.8 for Python serializes the same tensors: the largest types first.
            let header = """
                {"__metadata__":{"format":"pt"},\
                "i":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},\
                "c":{"dtype":"F32","shape":[],"data_offsets":[8,12]},\
                "empty":{"dtype":"F32","shape":[0,4],"data_offsets":[12,12]},\
                "z":{"dtype":"F32","shape":[3],"data_offsets":[12,24]},\
                "a":{"dtype":"BF16","shape":[1,1],"data_offsets":[24,26]},\
                "b":{"dtype":"U8","shape":[5],"data_offsets":[26,31]}}
                """
            let padded = (header.utf8.count + 7) / 8 * 8
            #expect(bytes.prefix(8).first == UInt8(padded & 255))
            #expect(
                String(decoding: bytes[8..<8 + padded], as: UTF8.self)
                    == header + String(repeating: " ", count: padded - header.utf8.count))
            #expect(bytes.count == 8 + padded + 31)
        }
    }

    @Test func `writes what the reader reads`() throws {
        try Fixtures.withTemporaryFolder { folder in
            let path = folder + "/x.safetensors"
            try write(to: path)
            let tensors = try SafetensorsFile(path: path).tensors
            defer { withExtendedLifetime(tensors) {} }
            #expect(tensors.map(\.name) == ["i", "c", "empty", "z", "a", "b"])
            #expect(Array(tensors[5].bytes) == [1, 2, 3, 4, 5])
            #expect(Array(tensors[4].bytes) == [0x80, 0x3F])
            #expect(tensors[3].bytes.loadUnaligned(fromByteOffset: 4, as: Float.self) == -2)
        }
    }

    @Test(arguments: 0...40) func `gives tensors of unknown size their place at the end`(
        size: Int
    ) throws {
        try Fixtures.withTemporaryFolder { folder in
            let path = folder + "/x.safetensors"
            let text = [UInt8](repeating: 0x41, count: size)
            try SafetensorsWriter.write(
                to: path, [TensorDescription(name: "w", type: .f32, shape: [2])],
                variable: ["v": 1000, "u": 1000]
            ) { file in
                try file.write(text, as: "v")
                try file.write([1, 2] as [Float], as: "w")
                try file.write([UInt8(9)], as: "u")
            }
            let tensors = try SafetensorsFile(path: path).tensors
            defer { withExtendedLifetime(tensors) {} }
            let byName = Dictionary(uniqueKeysWithValues: tensors.map { ($0.name, $0) })
            #expect(byName.count == 3)
            #expect(byName["v"].map { Array($0.bytes) } == text)
            #expect(byName["u"].map { Array($0.bytes) } == [9])
            #expect(byName["v"]?.shape == [size])
        }
    }

    @Test func `leaves nothing behind when writing fails`() throws {
        try Fixtures.withTemporaryFolder { folder in
            struct Stop: Error {}
            #expect(throws: Stop.self) {
                try SafetensorsWriter.write(to: folder + "/x.safetensors", Self.tensors) { file in
                    try file.write([UInt8](1...5), as: "b")
                    throw Stop()
                }
            }
            let left = try FileManager.default.contentsOfDirectory(atPath: folder)
            #expect(left.isEmpty)
        }
    }
}
