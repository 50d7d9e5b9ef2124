import Foundation
import LorikeetQuant
import LorikeetRuntime
import TestSupport
import Testing

/// A file of a few pairs of every kind and two tensors.
private func sound() -> GGUFBuilder {
    var gguf = GGUFBuilder()
    gguf.pair("general.architecture", string: "llama")
    gguf.pair("n", 7)
    gguf.pair("f", type: 6, little(Float(0.5).bitPattern))
    gguf.pair("yes", type: 7, [1])
    gguf.pair("big", type: 10, little(UInt64.max))
    gguf.pair(
        "list", type: 9,
        little(UInt32(5)) + little(UInt64(2)) + little(Int32(-1)) + little(Int32(2)))
    gguf.tensor("a", dimensions: [4, 2], data: [UInt8](repeating: 1, count: 32))
    gguf.tensor("b", dimensions: [3], data: [UInt8](repeating: 2, count: 12))
    return gguf
}

private func error(_ gguf: GGUFBuilder) throws -> LorikeetError? {
    try withFile("x.gguf", gguf.bytes) { path in
        try failure { _ = sum(try GGUFFile(path: path).tensors) }
    }
}

@Suite struct `A GGUF file` {
    @Test(arguments: [2, 3] as [UInt32])
    func `gives typed metadata and tensors`(version: UInt32) throws {
        var gguf = sound()
        gguf.version = version
        try withFile("x.gguf", gguf.bytes) { path in
            let file = try GGUFFile(path: path)
            #expect(file.version == Int(version))
            let metadata = JSON.object(file.metadata)
            #expect(metadata["general.architecture"] == "llama")
            #expect(metadata["n"] == 7)
            #expect(metadata["f"] == 0.5)
            #expect(metadata["yes"] == true)
            #expect(metadata["big"] == .double(0x1p64))
            #expect(metadata["list"] == [-1, 2])
            #expect(file.tensors.map(\.shape) == [[2, 4], [3]])
            #expect(file.tensors.map { $0.bytes.first } == [1, 2])
        }
    }

    @Test func `truncated anywhere is refused`() throws {
        let whole = sound().bytes
        for length in 0..<whole.count {
            let error = try withFile("x.gguf", Array(whole[..<length])) { path in
                try failure { _ = try GGUFFile(path: path) }
            }
            #expect(error?.code == .malformed, "\(length) bytes")
        }
    }

    @Test func `with any byte of its header changed is refused or read within its bounds`() throws {
        let gguf = sound()
        try Fixtures.withTemporaryFolder { folder in
            let path = folder + "/x.gguf"
            var refused = 0
            for index in gguf.header.indices {
                for value: UInt8 in [0, 1, 9, 0x20, 0x7F, 0x80, 0xFF] {
                    var bytes = gguf.bytes
                    bytes[index] = value
                    try Data(bytes).write(to: URL(filePath: path))
                    let error = try failure { _ = sum(try GGUFFile(path: path).tensors) }
                    refused += error == nil ? 0 : 1
                }
            }
            #expect(refused > 500)
        }
    }

    @Test func `with a lying header is refused`() throws {
        func expect(_ lie: String, _ change: (inout GGUFBuilder) -> Void) throws {
            var gguf = sound()
            change(&gguf)
            #expect(try error(gguf)?.code == .malformed, "\(lie)")
        }
        try expect("another magic") { $0.magic = Array("GGML".utf8) }
        try expect("more tensors than bytes") { $0.tensorCount = .max }
        try expect("more pairs than bytes") { $0.pairCount = .max }
        try expect("a tensor too many") { $0.tensorCount = 3 }
        try expect("a repeated key") { $0.pair("n", 8) }
        try expect("a repeated tensor") { $0.tensor("a", dimensions: [1], data: [0, 0, 0, 0]) }
        try expect("a huge array") {
            $0.pair("huge", type: 9, little(UInt32(8)) + little(UInt64.max))
        }
        try expect("a huge string") { $0.pair("huge", type: 8, little(UInt64.max)) }
        try expect("an unknown type of value") { $0.pair("odd", type: 13, [0]) }
        try expect("arrays within arrays without end") {
            let level = little(UInt32(9)) + little(UInt64(1))
            $0.pair("deep", type: 9, (0..<100).flatMap { _ in level })
        }
        try expect("an alignment of 3") { $0.pair("general.alignment", 3) }
        try expect("an alignment of 0") { $0.pair("general.alignment", 0) }
        try expect("five dimensions") {
            $0.tensor("c", dimensions: [1, 1, 1, 1, 1], data: [0, 0, 0, 0])
        }
        try expect("a negative dimension") { $0.tensor("c", dimensions: [-1], data: []) }
        try expect("a product that overflows") {
            $0.tensor("c", dimensions: [1 << 32, 1 << 32], data: [])
        }
        try expect("a row that cuts a block") {
            $0.tensor("c", dimensions: [16, 2], type: 8, data: [UInt8](repeating: 0, count: 34))
        }
        try expect("an offset past the file") {
            $0.tensor("c", dimensions: [1], data: [0, 0, 0, 0], offset: 1 << 40)
        }
        try expect("an offset that overflows") {
            $0.tensor("c", dimensions: [1], data: [0, 0, 0, 0], offset: UInt64(Int.max) - 1)
        }
        try expect("an offset that is not aligned") {
            $0.tensor("c", dimensions: [1], data: [0, 0, 0, 0], offset: 44)
        }
        try expect("an overlap") { $0.tensor("c", dimensions: [1], data: [0, 0, 0, 0], offset: 0) }
    }

    @Test func `of another version, type or in parts is refused as unsupported`() throws {
        for version: UInt32 in [1, 4, UInt32(3).byteSwapped] {
            var gguf = sound()
            gguf.version = version
            #expect(try error(gguf)?.code == .unsupported)
        }
        var type = sound()
        type.tensor("c", dimensions: [256], type: 16, data: [UInt8](repeating: 0, count: 66))
        let failure = try #require(try error(type))
        #expect(failure.code == .unsupported)
        #expect(failure.got == "ggml type 16")
        var split = sound()
        split.pair("split.count", 2)
        #expect(try error(split)?.code == .unsupported)
    }
}
