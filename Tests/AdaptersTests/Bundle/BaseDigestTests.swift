import Foundation
import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime
import Testing

/// A checkpoint of bytes in memory.
private struct MemoryCheckpoint: Checkpoint {
    var path: String { "memory" }
    var configuration: JSON { [:] }
    let tensorNames: [String]
    let tensors: [String: Tensor]

    /// Every tensor holds its own name's bytes, but for those in `contents`.
    init(_ names: [String], parts: [String] = [], contents: [String: String] = [:]) {
        tensorNames = names
        var tensors: [String: Tensor] = [:]
        for name in names + parts {
            let buffer = Buffer<UInt8>(Array((contents[name] ?? name).utf8))
            tensors[name] = Tensor(
                name: name, type: .u8, shape: [buffer.count],
                bytes: UnsafeRawBufferPointer(buffer.elements), owner: buffer)
        }
        self.tensors = tensors
    }

    func tensor(_ name: String) throws -> Tensor {
        guard let tensor = tensors[name] else { throw LorikeetError(.notFound, path, name) }
        return tensor
    }

    func shape(of name: String) throws -> [Int] { try tensor(name).shape }

    func weights(_ name: String, rows: Int, columns: Int) throws -> WeightMatrix {
        throw LorikeetError(.unsupported, path, name)
    }

    func floats(_ name: String, into output: UnsafeMutablePointer<Float>) throws {
        throw LorikeetError(.unsupported, path, name)
    }

    func file(_ name: String) throws -> Data? { nil }
}

struct BaseDigestTests {
    private let parts = ["a.absmax", "a.quant_map", "a.nested_absmax", "a.nested_quant_map"]

    @Test func `the digest is that of the listing`() throws {
        // As in docs/bundle.md, by hand: the names are one byte long, and their own content.
        let lines = ["a", "b"].map { "\($0) U8 1 \(sha256(Array($0.utf8)))\n" }
        let listing = "lorikeet base 1\n" + lines.joined()
        #expect(try BaseDigest.of(MemoryCheckpoint(["b", "a"])) == sha256(Array(listing.utf8)))
    }

    @Test func `every byte and every name counts`() throws {
        let digests = try [
            MemoryCheckpoint(["a", "b"]), MemoryCheckpoint(["a", "c"]), MemoryCheckpoint(["a"]),
            MemoryCheckpoint(["a", "b"], contents: ["b": "B"]),
            MemoryCheckpoint(["a", "b"], contents: ["b": "bb"]),
        ].map { try BaseDigest.of($0) }
        #expect(Set(digests).count == 5)
    }

    @Test func `of a quantized base its 4-bit weights and their scales count alone`() throws {
        let digest = try BaseDigest.of(MemoryCheckpoint(["a", "norm"], parts: parts))
        func changed(_ name: String) throws -> String {
            try BaseDigest.of(
                MemoryCheckpoint(
                    ["a", "norm"], parts: parts + ["a.quant_state.bitsandbytes__nf4"],
                    contents: [name: "other"]))
        }
        for name in ["a"] + parts { #expect(try changed(name) != digest) }
        for name in ["norm", "a.quant_state.bitsandbytes__nf4"] {
            #expect(try changed(name) == digest)
        }
    }
}
