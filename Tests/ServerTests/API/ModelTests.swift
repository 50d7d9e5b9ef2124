import Foundation
import LorikeetRuntime
import LorikeetServer
import Testing

struct ModelTests {
    private func content(_ answer: TestAnswer) throws -> String {
        try #require(
            try answer.json["choices"]?.array?.first?["message"]?["content"]?.string,
            "\(answer.text)")
    }

    @Test func `the base and the adapters are models`() async throws {
        let server = try TestServer(adapters: ["one", "two"])
        try await server.withClient { client in
            let json = try await client.get("/v1/models").json
            #expect(json["object"]?.string == "list")
            let models = try #require(json["data"]?.array)
            #expect(models.map { $0["id"]?.string } == ["tiny", "one", "two"])
            for model in models {
                #expect(model["object"]?.string == "model")
                #expect((model["created"]?.int ?? 0) > 1_600_000_000)
                #expect(model["owned_by"]?.string == "lorikeet")
                #expect(model["digest"]?.string?.count == 64)
                #expect(model["max_model_len"]?.int == 1024)
            }
            #expect(models[0]["parent"]?.isNull == true)
            #expect(models[1]["parent"]?.string == "tiny")
            #expect(models[1]["rank"]?.int == 2)
            #expect(models[1]["method"]?.string == "lora")
            #expect(models[1]["modules_applied"]?.int == 4)
            #expect(models[1]["modules_total"]?.int == 14)
            #expect(try await client.get("/v1/models/one").json == models[1])
            #expect(try await client.get("/v1/models/tiny").json == models[0])
            let missing = try await client.get("/v1/models/three")
            try missing.expectError(404, parameter: "model", code: "model_not_found")
        }
    }

    @Test func `the model field selects an adapter, and a digest pins its version`() async throws {
        let server = try TestServer(adapters: ["one", "two"])
        try await server.withClient { client in
            let base = try content(await client.chat())
            let one = try await client.chat("hello", ["model": "one"])
            let two = try await client.chat("hello", ["model": "two"])
            #expect(try content(one) != base)
            #expect(try content(one) != content(two))
            #expect(try one.json["model"]?.string == "one")
            #expect(try one.json["system_fingerprint"] != two.json["system_fingerprint"])
            #expect(try content(await client.chat("hello", ["model": "tiny"])) == base)

            let digest = try #require(
                try await client.get("/v1/models/one").json["digest"]?.string)
            let pinned = try await client.chat(
                "hello", ["model": .string("one@" + digest.prefix(12))])
            #expect(try content(pinned) == content(one))
            for name in ["three", "one@0000000000", "one@", "@", "../one", ""] {
                let answer = try await client.chat("hello", ["model": .string(name)])
                try answer.expectError(404, parameter: "model", code: "model_not_found")
                #expect(answer.text.contains("tiny, one, two"))
            }
        }
    }

    @Test func `a blend adds adapters up`() async throws {
        let server = try TestServer(adapters: ["one", "two"])
        try await server.withClient { client in
            func blend(_ parts: JSON...) async throws -> String {
                try content(await client.chat("hello", ["adapters": .array(parts)]))
            }
            let one = try content(await client.chat("hello", ["model": "one"]))
            #expect(try await blend(["name": "one", "scale": 1]) == one)
            #expect(try await blend(["name": "one"]) == one)
            #expect(
                try await blend(["name": "one"], ["name": "two", "scale": 0]) == one)
            let none = try await client.chat(
                "hello", ["adapters": [["name": "one", "scale": 0]]])
            try none.expectError(400, parameter: "adapters")
            let nameless = try await client.chat("hello", ["adapters": [["name": "../one"]]])
            try nameless.expectError(400, parameter: "adapters[0].name")
            let both = try await blend(["name": "one"], ["name": "two", "scale": 0.5])
            #expect(both != one)
            let unknown = try await client.chat("hello", ["adapters": [["name": "three"]]])
            try unknown.expectError(404, parameter: "adapters", code: "model_not_found")
            let two = try await client.chat(
                "hello", ["model": "one", "adapters": [["name": "two"]]])
            try two.expectError(400, parameter: "adapters")
        }
    }

    @Test func `adapters are loaded, replaced and unloaded`() async throws {
        let server = try TestServer(adapters: ["one", "two"])
        let folder = server.folder + "/adapters"
        try await server.withClient { client in
            func load(_ name: String, _ path: String, _ more: JSON = [:]) async throws -> TestAnswer
            {
                var body: JSON = ["lora_name": .string(name), "lora_path": .string(path)]
                for (key, value) in more.object ?? [:] { body[key] = value }
                return try await client.post("/v1/load_lora_adapter", body)
            }
            let loaded = try await load("three", folder + "/one")
            #expect(loaded.status == 200, "\(loaded.text)")
            #expect(
                try await client.get("/v1/models/three").json["digest"]
                    == client.get("/v1/models/one").json["digest"])
            // The name is taken, unless it is to be replaced.
            try await load("three", folder + "/two").expectError(400)
            let replaced = try await load("three", folder + "/two", ["load_inplace": true])
            #expect(replaced.status == 200)
            #expect(
                try await client.get("/v1/models/three").json["digest"]
                    == client.get("/v1/models/two").json["digest"])

            let unloaded = try await client.post(
                "/v1/unload_lora_adapter", ["lora_name": "three"])
            #expect(unloaded.status == 200)
            let gone = try await client.post("/v1/unload_lora_adapter", ["lora_name": "three"])
            try gone.expectError(404)
            try await client.chat("hello", ["model": "three"]).expectError(
                404, parameter: "model")
        }
    }

    @Test func `what is not right cannot be loaded, and the old version stays`() async throws {
        let server = try TestServer(adapters: ["one"])
        let folder = server.folder + "/adapters"
        try FileManager.default.createDirectory(
            atPath: folder + "/empty", withIntermediateDirectories: true)
        try TestServer.writeAdapter(
            to: folder + "/other", seed: 9, server.engine.model, width: 32)
        try FileManager.default.createSymbolicLink(
            atPath: folder + "/link", withDestinationPath: server.folder + "/model")
        try await server.withClient { client in
            func versions() async throws -> [[JSON?]] {
                try await client.get("/v1/models").json["data"]?.array?
                    .map { [$0["id"], $0["digest"], $0["state"]] } ?? []
            }
            let before = try await versions()
            func load(_ name: JSON, _ path: JSON) async throws -> TestAnswer {
                try await client.post(
                    "/v1/load_lora_adapter",
                    ["lora_name": name, "lora_path": path, "load_inplace": true])
            }
            try await load("one", .string(folder + "/empty")).expectError(404)
            // Factors of another base: expected and got are told.
            let other = try await load("one", .string(folder + "/other"))
            try other.expectError(422)
            #expect(other.text.contains("64") && other.text.contains("32"))
            for path in [
                "/etc/passwd", folder, folder + "/../model", folder + "/link", "../model",
                folder + "x/one", "",
            ] {
                let answer = try await load("two", .string(path))
                #expect([400, 404].contains(answer.status), "\(path): \(answer.text)")
            }
            for name in ["../x", "a/b", "a\\b", "a@b", "..", String(repeating: "a", count: 200)] {
                try await load(.string(name), .string(folder + "/one")).expectError(400)
            }
            try await load("tiny", .string(folder + "/one")).expectError(
                400, parameter: "lora_name")
            try await load(nil, "x").expectError(400, parameter: "lora_name")
            try await load("x", 5).expectError(400, parameter: "lora_path")
            #expect(try await versions() == before)
        }
    }

    @Test(arguments: [true, false])
    func `a bundle that expands without end is refused, and takes no memory`(
        tellsItsSize: Bool
    ) async throws {
        let server = try TestServer(adapters: ["one"])
        let path = server.folder + "/adapters/bomb.lorikeet"
        let expanded = 8 << 30
        try Data(Self.bomb(expanded, tellsItsSize: tellsItsSize)).write(to: URL(filePath: path))
        try await server.withClient { client in
            let before = try await client.get("/v1/models/one").json["digest"]?.string
            _ = resetPeakMemory()
            let memory = peakMemoryBytes()
            for _ in 0..<3 {
                let answer = try await client.post(
                    "/v1/load_lora_adapter",
                    ["lora_name": "one", "lora_path": .string(path), "load_inplace": true])
                try answer.expectError(422, code: "unsupported")
                #expect(answer.text.contains("too large") && answer.text.contains("bomb.lorikeet"))
            }
            // A file of 256 KB may hold 64 MiB. Other tests take memory meanwhile, but not gigabytes.
            #expect(peakMemoryBytes() - memory < 1 << 30)
            let after = try await client.get("/v1/models/one").json
            #expect(after["digest"]?.string == before && before != nil)
            #expect(after["error"]?.string?.contains("too large") == true)
            #expect(try await client.chat("hello", ["model": "one"]).status == 200)
        }
    }

    /// A zstd frame (RFC 8878) of zeros, in blocks that each repeat one 128 KiB times.
    private static func bomb(_ size: Int, tellsItsSize: Bool) -> [UInt8] {
        // The magic number; then 8 bytes of content size follow, or none; a window of 1 MiB.
        var frame: [UInt8] = [0x28, 0xB5, 0x2F, 0xFD, tellsItsSize ? 0xC0 : 0x00, 0x50]
        if tellsItsSize {
            withUnsafeBytes(of: UInt64(size).littleEndian) { frame += $0 }
        }
        let block = 1 << 17
        for start in stride(from: 0, to: size, by: block) {
            let header = block << 3 | 1 << 1 | (start + block == size ? 1 : 0)
            frame += [UInt8(header & 255), UInt8(header >> 8 & 255), UInt8(header >> 16), 0]
        }
        return frame
    }
}
