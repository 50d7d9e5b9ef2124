import Crypto
import Foundation
import LorikeetAdapters
import LorikeetRuntime
import Testing

struct SignatureTests {
    private let folder: TemporaryFolder
    private let key = SigningKey()
    private let bundle: String

    init() throws {
        folder = try TemporaryFolder()
        bundle = folder["a.lorikeet"]
        try AdapterBundle.pack(resource("patterns"), to: bundle)
    }

    private func files(_ path: String) throws -> [(name: String, content: [UInt8])] {
        let archive = try contents(path).withUnsafeBytes {
            try Zstandard.decompress($0, maximumBytes: 1 << 20, source: path).array
        }
        return try archive.withUnsafeBufferPointer { try Tar.files(in: $0, source: path) }.map {
            ($0.name, Array(archive[$0.content]))
        }
    }

    private func write(_ files: [(name: String, content: [UInt8])], to path: String) throws {
        let archive =
            files.flatMap { name, content in
                Tar.header(name: name, size: content.count) + content
                    + Tar.padding(after: content.count)
            } + Tar.end
        var frame: [UInt8] = []
        try archive.withUnsafeBytes { try Zstandard.compress([$0]) { frame += $0 } }
        try Data(frame).write(to: URL(fileURLWithPath: path))
    }

    @Test func `a signed bundle is the same adapter, and says who signed it`() throws {
        let before = try files(bundle)
        let plain = try AdapterBundle.verify(bundle)
        #expect(plain.signer == nil)
        let signed = try AdapterBundle.sign(bundle, with: key, to: bundle)
        #expect(signed.signer == key.verifyingKey && signed.json == plain.json)
        #expect(try AdapterBundle.verify(bundle) == signed)
        #expect(try AdapterBundle.inspect(bundle) == signed)
        let adapter = try Adapters.load(bundle, for: smallModel)
        #expect(adapter.digest == plain.digest && adapter.manifest?.signer == key.verifyingKey)
        // Every other file is as it was, byte for byte.
        let after = try files(bundle)
        #expect(
            after.map(\.name) == [
                "manifest.json", "manifest.json.pub", "manifest.json.sig", "adapter_config.json",
                "adapter_model.planes.safetensors",
            ])
        for (name, content) in before {
            #expect(after.first { $0.name == name }?.content == content)
        }
        try AdapterBundle.unpack(bundle, to: folder["out"])
        #expect(
            try contents(folder["out/adapter_model.safetensors"])
                == contents(resource("patterns") + "/adapter_model.safetensors"))
    }

    @Test func `signing again replaces the signature`() throws {
        try AdapterBundle.sign(bundle, with: key, to: folder["one.lorikeet"])
        let other = SigningKey()
        let manifest = try AdapterBundle.sign(
            folder["one.lorikeet"], with: other, to: folder["two.lorikeet"])
        #expect(manifest.signer == other.verifyingKey)
        #expect(try files(folder["two.lorikeet"]).count == 5)
        // Ed25519 signatures of one key are always the same: so is the bundle.
        try AdapterBundle.sign(folder["two.lorikeet"], with: key, to: folder["three.lorikeet"])
        #expect(try AdapterBundle.verify(folder["three.lorikeet"]).signer == key.verifyingKey)
        // A bundle that is encoded anew is signed by nobody.
        #expect(
            try AdapterBundle.pack(folder["one.lorikeet"], to: folder["four.lorikeet"]).signer
                == nil)
    }

    @Test func `what was changed after it was signed is refused`() throws {
        try AdapterBundle.sign(bundle, with: key, to: bundle)
        let good = try files(bundle)
        func failureAfter(
            _ change: (inout [(name: String, content: [UInt8])]) -> Void
        ) throws -> LorikeetError {
            var files = good
            change(&files)
            try write(files, to: folder["bad.lorikeet"])
            return try failure { _ = try Adapters.load(folder["bad.lorikeet"], for: smallModel) }
        }
        // The manifest, by a space at its end; its statements are the same.
        #expect(
            try failureAfter { $0[0].content.append(0x20) }.problem.contains("not of this manifest")
        )
        for offset in [0, 31, 32, 63] {
            let error = try failureAfter { $0[2].content[offset] ^= 1 }
            #expect(error.code == .malformed && error.expected?.contains("by") == true)
        }
        #expect(try failureAfter { $0[2].content.removeLast() }.code == .malformed)
        #expect(try failureAfter { $0[2].content = [] }.code == .malformed)
        // Another's key, or none.
        let other = Array(SigningKey().verifyingKey.pem.utf8)
        #expect(try failureAfter { $0[1].content = other }.code == .malformed)
        #expect(try failureAfter { $0[1].content = [1, 2, 3] }.code == .malformed)
        #expect(try failureAfter { $0.remove(at: 1) }.problem == "half a signature")
        #expect(try failureAfter { $0.remove(at: 2) }.problem == "half a signature")
        // The files that the manifest states.
        #expect(try failureAfter { $0[3].content[0] ^= 1 }.problem.contains("the digest of"))
        #expect(
            try failureAfter { $0[4].content[$0[4].content.count - 1] ^= 1 }.problem
                .contains("the digest of"))
        #expect(try failureAfter { $0.append($0[2]) }.problem.contains("twice"))
    }

    @Test func `a registry with trusted keys loads what they signed, and nothing else`() throws {
        let foreign = SigningKey()
        try AdapterBundle.sign(bundle, with: key, to: folder["good.lorikeet"])
        try AdapterBundle.sign(bundle, with: foreign, to: folder["foreign.lorikeet"])
        let trusted = TrustedKeys([SigningKey().verifyingKey, key.verifyingKey])
        let registry = smallRegistry(limits { $0.trustedKeys = trusted })
        try registry.load(name: "a", path: folder["good.lorikeet"])
        #expect(registry.status(of: "a")?.version?.signer == key.verifyingKey)
        #expect(
            registry.status(of: "a")?.json["signer"]?.string == key.verifyingKey.fingerprint)
        for (path, got) in [
            (folder["foreign.lorikeet"], foreign.verifyingKey.fingerprint), (bundle, "none"),
            // A folder cannot be signed.
            (try resource("patterns"), "none"),
        ] {
            let error = try failure { try registry.load(name: "a", path: path) }
            #expect(error.code == .mismatch && error.got == got)
            #expect(error.expected?.contains(key.verifyingKey.fingerprint) == true)
        }
        #expect(try registry.adapter("a")?.manifest?.signer == key.verifyingKey)
    }

    @Test func `keys are files that openssl reads, the private one for its owner alone`() throws {
        let path = folder["key.pem"]
        try key.write(to: path)
        let attributes = try FileManager.default.attributesOfItem(atPath: path)
        #expect((attributes[.posixPermissions] as? Int) == 0o600)
        #expect(try SigningKey(path: path).verifyingKey == key.verifyingKey)
        let trusted = try TrustedKeys(path: path + ".pub")
        #expect(trusted.keys == [key.verifyingKey])
        #expect(try failure { try key.write(to: path) }.code == .exists)
        try key.write(to: path, replace: true)
        // Several keys with words between.
        let other = SigningKey().verifyingKey
        let text = "ours\n" + key.verifyingKey.pem + "# theirs\n" + other.pem
        try Data(text.utf8).write(to: URL(fileURLWithPath: folder["keys"]))
        #expect(try TrustedKeys(path: folder["keys"]).keys == [key.verifyingKey, other])
    }

    @Test(
        arguments: [
            ("", LorikeetError.Code.malformed), ("nothing\n", .malformed),
            ("-----BEGIN PUBLIC KEY-----\n", .malformed),
            ("-----BEGIN PUBLIC KEY-----\n!!\n-----END PUBLIC KEY-----\n", .malformed),
            ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", .unsupported),
        ])
    func `what is no key is refused`(text: String, code: LorikeetError.Code) throws {
        let path = folder["bad.pub"]
        try Data(text.utf8).write(to: URL(fileURLWithPath: path))
        #expect(try failure { _ = try TrustedKeys(path: path) }.code == code)
        #expect(throws: LorikeetError.self) { try SigningKey(path: path) }
    }

    @Test(
        .enabled(
            if: ["/usr/bin/openssl", "/usr/bin/tar", "/usr/bin/zstd"].allSatisfy(
                FileManager.default.fileExists)))
    func `openssl makes keys, and checks signatures`() throws {
        func run(_ words: String) throws -> Int32 {
            let process = Process()
            process.executableURL = URL(fileURLWithPath: "/bin/sh")
            process.arguments = ["-c", words]
            process.currentDirectoryURL = URL(fileURLWithPath: folder.path)
            process.standardOutput = FileHandle.nullDevice
            process.standardError = FileHandle.nullDevice
            try process.run()
            process.waitUntilExit()
            return process.terminationStatus
        }
        #expect(try run("openssl genpkey -algorithm ed25519 -out key.pem") == 0)
        let key = try SigningKey(path: folder["key.pem"])
        try AdapterBundle.sign(bundle, with: key, to: bundle)
        #expect(
            try run(
                "tar --zstd -xf a.lorikeet && openssl pkey -in key.pem -pubout | cmp - manifest.json.pub"
            ) == 0)
        let verify =
            "openssl pkeyutl -verify -pubin -inkey manifest.json.pub -rawin -in manifest.json "
            + "-sigfile manifest.json.sig"
        #expect(try run(verify) == 0)
        #expect(try run("echo >> manifest.json; \(verify)") != 0)
        #expect(
            try run(
                "test $(openssl pkey -pubin -in manifest.json.pub -outform DER | sha256sum "
                    + "| cut -d' ' -f1) = \(key.verifyingKey.fingerprint)") == 0)
        // And ours there.
        try SigningKey().write(to: folder["own.pem"])
        #expect(try run("openssl pkey -in own.pem -pubout | cmp - own.pem.pub") == 0)
    }
}
