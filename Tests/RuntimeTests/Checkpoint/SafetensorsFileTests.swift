import Foundation
import LorikeetQuant
import LorikeetRuntime
import TestSupport
import Testing

/// A file of a header and `dataBytes` bytes 0, 1, 2, ….
private func file(_ header: String, dataBytes: Int = 24) -> [UInt8] {
    let length = withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { Array($0) }
    return length + Array(header.utf8) + (0..<dataBytes).map { UInt8($0 & 255) }
}

private let sound = """
    {"__metadata__":{"format":"pt"},\
    "a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},\
    "b":{"dtype":"BF16","shape":[4],"data_offsets":[16,24]}}
    """

private func tensor(_ fields: String) -> String { "{\"a\":{\(fields)}}" }

@Suite struct `A safetensors file` {
    @Test func `gives tensors, shapes, bytes and metadata`() throws {
        try withFile("x.safetensors", file(sound)) { path in
            let file = try SafetensorsFile(path: path)
            #expect(file.tensors.map(\.name) == ["a", "b"])
            #expect(file.tensors.map(\.type) == [.f32, .bf16])
            #expect(file.tensors.map(\.shape) == [[2, 2], [4]])
            #expect(file.tensors.map { Array($0.bytes) } == [Array(0..<16), Array(16..<24)])
            #expect(file.metadata == ["format": "pt"])
        }
    }

    @Test func `truncated anywhere is refused`() throws {
        let whole = file(sound)
        for length in 0..<whole.count {
            let error = try withFile("x.safetensors", Array(whole[..<length])) { path in
                try failure { _ = try SafetensorsFile(path: path) }
            }
            #expect(error?.code == .malformed, "\(length) bytes")
        }
    }

    @Test func `with any byte of its header changed is refused or read within its bounds`() throws {
        let whole = file(sound)
        try Fixtures.withTemporaryFolder { folder in
            let path = folder + "/x.safetensors"
            var refused = 0
            for index in 0..<8 + sound.utf8.count {
                for value: UInt8 in [0, 0x22, 0x2C, 0x30, 0x39, 0x7D, 0x80, 0xFF] {
                    var bytes = whole
                    bytes[index] = value
                    try Data(bytes).write(to: URL(filePath: path))
                    let error = try failure { _ = sum(try SafetensorsFile(path: path).tensors) }
                    refused += error == nil ? 0 : 1
                }
            }
            #expect(refused > 1000)
        }
    }

    @Test(arguments: [
        ("a length past the file", [UInt8](repeating: 0xFF, count: 8) + Array(sound.utf8)),
        ("no object", file("[]", dataBytes: 0)),
        ("no JSON", file("{\"a\":", dataBytes: 0)),
        ("data past the tensors", file(sound, dataBytes: 25)),
        (
            "an overlap",
            file(
                """
                {"a":{"dtype":"U8","shape":[16],"data_offsets":[0,16]},\
                "b":{"dtype":"U8","shape":[16],"data_offsets":[8,24]}}
                """)
        ),
        (
            "a hole",
            file(
                """
                {"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},\
                "b":{"dtype":"U8","shape":[8],"data_offsets":[16,24]}}
                """)
        ),
        (
            "a repeated name",
            file(
                """
                {"a":{"dtype":"U8","shape":[12],"data_offsets":[0,12]},\
                "a":{"dtype":"U8","shape":[12],"data_offsets":[12,24]}}
                """)
        ),
        (
            "names equal but for Unicode's forms",
            file(
                """
                {"\u{E9}":{"dtype":"U8","shape":[12],"data_offsets":[0,12]},\
                "e\u{301}":{"dtype":"U8","shape":[12],"data_offsets":[12,24]}}
                """)
        ),
        (
            "negative offsets",
            file(tensor("\"dtype\":\"U8\",\"shape\":[24],\"data_offsets\":[-24,0]"))
        ),
        (
            "offsets that run backwards",
            file(tensor("\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[24,0]"))
        ),
        (
            "offsets past the file",
            file(tensor("\"dtype\":\"U8\",\"shape\":[99],\"data_offsets\":[0,99]"))
        ),
        ("a fraction", file(tensor("\"dtype\":\"U8\",\"shape\":[24.0],\"data_offsets\":[0,24]"))),
        (
            "a negative dimension",
            file(tensor("\"dtype\":\"U8\",\"shape\":[-4,-6],\"data_offsets\":[0,24]"))
        ),
        (
            "a product that overflows to the right size",
            file(
                tensor(
                    """
                    "dtype":"U8","shape":[4294967296,4294967296,0,24],"data_offsets":[0,24]
                    """))
        ),
        (
            "a number past 64 bits",
            file(
                tensor("\"dtype\":\"U8\",\"shape\":[18446744073709551640],\"data_offsets\":[0,24]"))
        ),
        (
            "a shape of another size",
            file(tensor("\"dtype\":\"F32\",\"shape\":[24],\"data_offsets\":[0,24]"))
        ),
        ("no dtype", file(tensor("\"shape\":[24],\"data_offsets\":[0,24]"))),
        ("no shape", file(tensor("\"dtype\":\"U8\",\"data_offsets\":[0,24]"))),
        (
            "three offsets",
            file(tensor("\"dtype\":\"U8\",\"shape\":[24],\"data_offsets\":[0,12,24]"))
        ),
        ("a tensor that is no object", file("{\"a\":3}")),
        ("metadata that are no strings", file("{\"__metadata__\":{\"n\":1}}", dataBytes: 0)),
    ])
    func `with a lying header is refused`(lie: String, bytes: [UInt8]) throws {
        let error = try withFile("x.safetensors", bytes) { path in
            try failure { _ = try SafetensorsFile(path: path) }
        }
        #expect(error?.code == .malformed, "\(lie)")
    }

    @Test func `of an unknown type is refused by its name`() throws {
        for type in ["F7", "Q4_0"] {
            let header = tensor("\"dtype\":\"\(type)\",\"shape\":[24],\"data_offsets\":[0,24]")
            let error = try withFile("x.safetensors", file(header)) { path in
                try failure { _ = try SafetensorsFile(path: path) }
            }
            #expect(error?.code == .unsupported)
            #expect(error?.got == type)
        }
    }

    @Test func `without tensors is empty`() throws {
        try withFile("x.safetensors", file("{}", dataBytes: 0)) { path in
            let file = try SafetensorsFile(path: path)
            #expect(file.tensors.isEmpty)
        }
    }
}
