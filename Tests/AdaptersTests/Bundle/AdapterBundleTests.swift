import Foundation
import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime
import Testing

private let peftFiles = ["adapter_config.json", "adapter_model.safetensors"]

struct AdapterBundleTests {
    @Test(
        arguments: ["plain", "patterns", "regex_bf16", "all_linear_f16"],
        [BundleManifest.Encoding.planes, .portable])
    func `unpacking gives back the packed files byte for byte`(
        name: String, encoding: BundleManifest.Encoding
    ) throws {
        let folder = try TemporaryFolder()
        var options = AdapterBundle.Options()
        options.encoding = encoding
        let source = try resource(name)
        let manifest = try AdapterBundle.pack(source, to: folder["a.lorikeet"], options: options)
        #expect(try AdapterBundle.verify(folder["a.lorikeet"]) == manifest)
        #expect(try AdapterBundle.inspect(folder["a.lorikeet"]) == manifest)
        try AdapterBundle.unpack(folder["a.lorikeet"], to: folder["out"])
        for file in peftFiles {
            #expect(try contents(folder["out/" + file]) == contents(source + "/" + file))
        }
        #expect(folder.names == ["a.lorikeet", "out"])
    }

    @Test func `a bundle and its folder are the same adapter`() throws {
        let folder = try TemporaryFolder()
        let source = try resource("patterns")
        let direct = try Adapters.load(source, for: smallModel)
        let manifest = try AdapterBundle.pack(source, to: folder["renamed.lorikeet"])
        let bundled = try Adapters.load(folder["renamed.lorikeet"], for: smallModel)
        #expect(bundled.digest == direct.digest && manifest.digest == direct.digest)
        #expect(bundled.configuration == direct.configuration)
        #expect(bundled.name == "patterns" && bundled.manifest == manifest)
        #expect(manifest.method == "rslora" && manifest.rank == 4 && manifest.modules == 3)
        #expect(manifest.parameters == bundled.parameterCount)
        #expect(bundled.summary["bundle"] == manifest.json)
    }

    @Test func `an adapter in memory packs to the same bytes as its folder`() throws {
        let folder = try TemporaryFolder()
        let source = try resource("plain")
        try AdapterBundle.pack(source, to: folder["folder.lorikeet"])
        let adapter = try Adapters.load(source, for: smallModel)
        try AdapterBundle.pack(adapter, to: folder["memory.lorikeet"])
        #expect(try contents(folder["folder.lorikeet"]) == contents(folder["memory.lorikeet"]))
    }

    @Test func `bf16 halves the factors and says so`() throws {
        let folder = try TemporaryFolder()
        var options = AdapterBundle.Options()
        options.type = .bf16
        let source = try resource("plain")
        let exact = try Adapters.load(source, for: smallModel)
        let manifest = try AdapterBundle.pack(source, to: folder["a.lorikeet"], options: options)
        let rounded = try Adapters.load(folder["a.lorikeet"], for: smallModel)
        #expect(manifest.unpacked["adapter_model.safetensors"]?.bytes ?? 0 < 11_000)
        #expect(rounded.digest != exact.digest && rounded.digest == manifest.digest)
        for (path, delta) in exact.deltas {
            let got = try #require(rounded.delta(at: path))
            for (rounded, exact) in zip(got.b.elements, delta.b.elements) {
                // 8 bits of precision, rounded to nearest.
                #expect(abs(rounded - exact) <= abs(exact) / 256)
            }
        }
    }

    @Test func `a bundle encoded anew keeps what its manifest knew`() throws {
        let folder = try TemporaryFolder()
        var options = AdapterBundle.Options()
        options.name = "first"
        options.method = "reflora"
        options.baseDigest = String(repeating: "a", count: 64)
        options.training = ["steps": 30, "loss": 1.5]
        let first = try AdapterBundle.pack(
            resource("plain"), to: folder["1.lorikeet"], options: options)
        options = AdapterBundle.Options()
        options.encoding = .portable
        let second = try AdapterBundle.pack(
            folder["1.lorikeet"], to: folder["2.lorikeet"], options: options)
        #expect(second.name == "first" && second.method == "reflora")
        #expect(second.baseDigest == first.baseDigest && second.training == first.training)
        #expect(second.digest == first.digest && second.unpacked == first.unpacked)
    }

    @Test func `outputs that exist are kept unless asked`() throws {
        let folder = try TemporaryFolder()
        let (bundle, source) = (folder["a.lorikeet"], try resource("plain"))
        try write([1], to: bundle)
        #expect(try failure { _ = try AdapterBundle.pack(source, to: bundle) }.code == .exists)
        #expect(try contents(bundle) == [1])
        try AdapterBundle.pack(source, to: bundle, replace: true)
        try AdapterBundle.unpack(bundle, to: folder["out"])
        #expect(
            try failure { _ = try AdapterBundle.unpack(bundle, to: folder["out"]) }.code == .exists)
        try AdapterBundle.unpack(bundle, to: folder["out"], replace: true)
        #expect(folder.names == ["a.lorikeet", "out"])
    }

    @Test func `a bad adapter is not packed and leaves nothing behind`() throws {
        let folder = try TemporaryFolder()
        var tensors = queryFactors()
        tensors[0] = RawTensor(tensors[0].name, [4, 32], filledWith: .nan)
        try writeFolder(folder["bad"], tensors, settings: [queryTargets])
        let error = try failure {
            _ = try AdapterBundle.pack(folder["bad"], to: folder["a.lorikeet"])
        }
        #expect(error.code == .malformed)
        #expect(folder.names == ["bad"])
    }

    @Test func `a bundle of another base is refused unless allowed`() throws {
        let folder = try TemporaryFolder()
        let (own, other) = (String(repeating: "a", count: 64), String(repeating: "b", count: 64))
        var options = AdapterBundle.Options()
        options.baseDigest = own
        try AdapterBundle.pack(resource("plain"), to: folder["a.lorikeet"], options: options)
        func load(_ digest: String, allow: Bool = false) throws -> Adapter {
            try Adapters.load(
                folder["a.lorikeet"], for: smallModel, baseDigest: { digest }, allowOtherBase: allow
            )
        }
        #expect(try load(own).moduleCount == 14)
        let error = try failure { _ = try load(other) }
        #expect(error.code == .mismatch && error.got == other)
        #expect(error.expected?.contains(own) == true)
        #expect(try load(other, allow: true).moduleCount == 14)
        // The shapes are checked all the same.
        var wide = smallModel
        wide.hiddenSize = 64
        #expect(
            try failure { _ = try Adapters.load(folder["a.lorikeet"], for: wide) }.code == .mismatch
        )
    }

    @Test func `equal numbers, which compress a thousandfold, pack and unpack`() throws {
        let folder = try TemporaryFolder()
        try writeFolder(folder["ones"], queryFactors(), settings: [queryTargets])
        try AdapterBundle.pack(folder["ones"], to: folder["a.lorikeet"])
        try AdapterBundle.unpack(folder["a.lorikeet"], to: folder["out"])
        for file in peftFiles {
            #expect(try contents(folder["out/" + file]) == contents(folder["ones/" + file]))
        }
    }

    @Test(
        .enabled(if: ["/usr/bin/tar", "/usr/bin/zstd"].allSatisfy(FileManager.default.fileExists)))
    func `tar and zstd open a portable bundle`() throws {
        let folder = try TemporaryFolder()
        var options = AdapterBundle.Options()
        options.encoding = .portable
        let source = try resource("plain")
        let manifest = try AdapterBundle.pack(source, to: folder["a.lorikeet"], options: options)
        let tar = Process()
        tar.executableURL = URL(fileURLWithPath: "/usr/bin/tar")
        tar.arguments = ["--zstd", "-xf", folder["a.lorikeet"], "-C", folder.path]
        try tar.run()
        tar.waitUntilExit()
        #expect(tar.terminationStatus == 0)
        #expect(folder.names == ["a.lorikeet"] + peftFiles + ["manifest.json"])
        for file in peftFiles {
            #expect(try contents(folder[file]) == contents(source + "/" + file))
        }
        #expect(try JSON(contentsOf: folder["manifest.json"]) == manifest.json)
    }
}
