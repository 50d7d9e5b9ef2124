import Foundation
import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime
import Testing

/// Bundles that are damaged, or made to deceive.
struct BundleDamageTests {
    private static let planes = "adapter_model.planes.safetensors"

    /// The archive of a bundle of the patterns adapter.
    private func files(_ folder: TemporaryFolder) throws -> [(name: String, content: [UInt8])] {
        let bundle = folder["good.lorikeet"]
        try AdapterBundle.pack(resource("patterns"), to: bundle)
        let archive = try contents(bundle).withUnsafeBytes {
            try Zstandard.decompress($0, maximumBytes: 1 << 20, source: bundle).array
        }
        return try archive.withUnsafeBufferPointer { try Tar.files(in: $0, source: bundle) }.map {
            ($0.name, Array(archive[$0.content]))
        }
    }

    private func bundle(_ files: [(name: String, content: [UInt8])], to path: String) throws {
        let archive =
            files.flatMap { name, content in
                Tar.header(name: name, size: content.count) + content
                    + Tar.padding(after: content.count)
            } + Tar.end
        var frame: [UInt8] = []
        try archive.withUnsafeBytes { try Zstandard.compress([$0]) { frame += $0 } }
        try write(frame, to: path)
    }

    /// What a load of the patterns bundle says after `change`, or what `reader` says.
    private func failureAfter(
        by reader: (String) throws -> Void = { _ = try Adapters.load($0, for: smallModel) },
        _ change: (inout [(name: String, content: [UInt8])]) throws -> Void
    ) throws -> LorikeetError {
        let folder = try TemporaryFolder()
        var files = try files(folder)
        try change(&files)
        try bundle(files, to: folder["bad.lorikeet"])
        #expect(throws: LorikeetError.self) {
            try AdapterBundle.unpack(folder["bad.lorikeet"], to: folder["out"])
        }
        #expect(folder.names == ["bad.lorikeet", "good.lorikeet"])
        return try failure { try reader(folder["bad.lorikeet"]) }
    }

    /// What a load says after a change of the manifest, or what `reader` says.
    private func failureAfterManifest(
        by reader: (String) throws -> Void = { _ = try Adapters.load($0, for: smallModel) },
        _ change: (inout JSON) -> Void
    ) throws -> LorikeetError {
        try failureAfter(by: reader) { files in
            var manifest = try JSON(
                parsing: String(decoding: files[0].content, as: UTF8.self), source: "")
            change(&manifest)
            files[0].content = [UInt8](manifest.data())
        }
    }

    @Test func `a bundle put together again without a change is accepted`() throws {
        let folder = try TemporaryFolder()
        try bundle(files(folder), to: folder["same.lorikeet"])
        #expect(try Adapters.load(folder["same.lorikeet"], for: smallModel).moduleCount == 3)
        #expect(try contents(folder["same.lorikeet"]) == contents(folder["good.lorikeet"]))
    }

    @Test func `every truncation is refused`() throws {
        let folder = try TemporaryFolder()
        _ = try files(folder)
        let whole = try contents(folder["good.lorikeet"])
        for count in 0..<whole.count {
            try write(Array(whole[..<count]), to: folder["cut.lorikeet"])
            #expect(throws: LorikeetError.self) { try AdapterBundle.verify(folder["cut.lorikeet"]) }
        }
    }

    @Test func `every damaged byte is refused or changes nothing`() throws {
        let folder = try TemporaryFolder()
        _ = try files(folder)
        let whole = try contents(folder["good.lorikeet"])
        var harmless = 0
        for offset in whole.indices {
            var damaged = whole
            damaged[offset] ^= UInt8(1 << (offset % 8))
            try write(damaged, to: folder["damaged.lorikeet"])
            guard (try? AdapterBundle.verify(folder["damaged.lorikeet"])) != nil else { continue }
            // zstd has bits without meaning: the window's size, the padding of its bit streams.
            harmless += 1
            try AdapterBundle.unpack(folder["damaged.lorikeet"], to: folder["out"], replace: true)
            for name in ["adapter_config.json", "adapter_model.safetensors"] {
                #expect(
                    try contents(folder["out/" + name])
                        == contents(resource("patterns") + "/" + name))
            }
        }
        #expect(harmless < whole.count / 50)
    }

    @Test func `a damaged byte of configuration or factors is refused`() throws {
        for index in 1...2 {
            for part in 0..<16 {
                // A load would not mind a changed remark in the header of the factors.
                let error = try failureAfter(by: { try AdapterBundle.verify($0) }) { files in
                    let offset = files[index].content.count * part / 16
                    files[index].content[offset] ^= 1
                }
                #expect(
                    error.problem
                        == "the digest of \(index == 1 ? "adapter_config.json" : Self.planes)")
            }
        }
    }

    @Test func `a load that meets damaged numbers names their file`() throws {
        for index in 1...2 {
            let error = try failureAfter { files in
                files[index].content[files[index].content.count - 1] ^= 1
            }
            #expect(
                error.problem
                    == "the digest of \(index == 1 ? "adapter_config.json" : Self.planes)")
        }
    }

    @Test func `missing, extra and misplaced files are refused`() throws {
        #expect(try failureAfter { $0.removeFirst() }.problem.contains("first file"))
        #expect(try failureAfter { $0.removeLast() }.problem.contains("files"))
        #expect(try failureAfter { $0.remove(at: 1) }.problem.contains("files"))
        #expect(try failureAfter { $0.append(("extra", [1])) }.got?.contains("extra") == true)
        #expect(try failureAfter { $0.swapAt(0, 1) }.problem.contains("first file"))
        #expect(try failureAfter { $0[2].name = "../../x" }.code == .malformed)
        #expect(try failureAfter { $0.append($0[1]) }.problem.contains("twice"))
        #expect(try failureAfter { $0.removeAll() }.got == "nothing")
    }

    @Test(
        arguments: [
            ("format", "other"), ("format", nil), ("format_version", "1"), ("digest", "abc"),
            ("digest", JSON.string(String(repeating: "A", count: 64))), ("encoding", "zip"),
            ("rank", -1),
            ("files", [:]), ("files", [1]), ("unpacked", [:]), ("name", nil),
            ("base_digest", "abc"),
            ("files", ["adapter_config.json": ["bytes": -1, "sha256": "0"]]),
        ] as [(String, JSON)])
    func `a manifest with a wrong value is refused`(key: String, value: JSON) throws {
        #expect(try failureAfterManifest { $0[key] = value }.code == .malformed)
    }

    @Test(
        arguments: [("rank", 5), ("alpha", 9), ("modules", 4), ("parameters", 1)]
            as [(String, JSON)])
    func `a manifest that says other than its adapter is refused`(key: String, value: JSON) throws {
        let error = try failureAfterManifest { $0[key] = value }
        #expect(error.code == .malformed && error.problem.contains(key))
    }

    @Test func `an unknown format version is refused as such`() throws {
        let error = try failureAfterManifest { $0["format_version"] = 2 }
        #expect(error.code == .unsupported && error.expected == "1" && error.got == "2")
    }

    @Test func `wrong digests are refused, naming expected and got`() throws {
        let wrong = String(repeating: "0", count: 64)
        let error = try failureAfterManifest { $0["digest"] = .string(wrong) }
        #expect(error.problem.contains("digest") && error.expected == wrong)
        for list in ["files", "unpacked"] {
            for file in [
                "adapter_config.json", list == "files" ? Self.planes : "adapter_model.safetensors",
            ] {
                // A load hashes the numbers, not the file they came in.
                let error = try failureAfterManifest(by: { try AdapterBundle.verify($0) }) {
                    manifest in
                    var files = manifest[list] ?? [:]
                    var stated = files[file] ?? [:]
                    stated["sha256"] = .string(wrong)
                    files[file] = stated
                    manifest[list] = files
                }
                #expect(error.problem == "the digest of \(file)" && error.expected == wrong)
            }
        }
    }

    @Test func `planes that do not fit their header are refused`() throws {
        // Each with its digest put right, so that the planes themselves are looked at.
        func failureWith(_ change: (inout String) -> Void) throws -> LorikeetError {
            try failureAfter { files in
                var content = files[2].content
                let size = content[..<8].reversed().reduce(0) { $0 << 8 | Int($1) }
                var header = String(decoding: content[8..<8 + size], as: UTF8.self)
                change(&header)
                let count = header.utf8.count
                content.replaceSubrange(8..<8 + size, with: header.utf8)
                content.replaceSubrange(
                    0..<8, with: withUnsafeBytes(of: UInt64(count).littleEndian, Array.init))
                files[2].content = content
                var manifest = try JSON(
                    parsing: String(decoding: files[0].content, as: UTF8.self), source: "")
                var list = manifest["files"] ?? [:]
                list[Self.planes] = [
                    "bytes": .int(content.count), "sha256": .string(sha256(content)),
                ]
                manifest["files"] = list
                files[0].content = [UInt8](manifest.data())
            }
        }
        #expect(
            try failureWith { $0 = $0.replacingOccurrences(of: ".plane3\"", with: ".plane9\"") }
                .problem
                .contains("missing"))
        #expect(
            try failureWith {
                $0 = $0.replacingOccurrences(of: "original_header", with: "original_heads")
            }.problem.contains("without the original's header"))
        #expect(
            try failureWith {
                $0 = $0.replacingOccurrences(
                    of: "\\\"shape\\\":[2,32]", with: "\\\"shape\\\":[2,31]")
            }.code == .malformed)
        #expect(
            try failureWith {
                $0 = $0.replacingOccurrences(of: "\\\"F32\\\"", with: "\\\"BF16\\\"")
            }.code == .malformed)
    }
}
