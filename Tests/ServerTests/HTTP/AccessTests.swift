import Foundation
import HTTPTypes
import LorikeetRuntime
import LorikeetServer
import Testing

struct AccessTests {
    private static let file: JSON = [
        "keys": [
            ["key": "sk-operator", "name": "operator", "load": true],
            // SHA-256 of "sk-guest", as sha256sum prints it.
            [
                "sha256": "f58a2aa456c7d0ec96448eeff90954469b8be5a66db32296b7e6d2a0de012c89",
                "name": "guest", "adapters": ["one"],
            ],
        ]
    ]

    private func keys(_ json: JSON) throws -> APIKeys {
        let path = NSTemporaryDirectory() + "lorikeet-keys-\(UUID().uuidString).json"
        defer { try? FileManager.default.removeItem(atPath: path) }
        try json.data().write(to: URL(filePath: path))
        return try APIKeys(contentsOf: path)
    }

    private func server() throws -> TestServer {
        let keys = try keys(Self.file)
        return try TestServer(adapters: ["one", "two"]) { $0.keys = keys }
    }

    private static func bearer(_ key: String) -> HTTPFields { [.authorization: "Bearer \(key)"] }

    @Test func `health and the page are open, every other route needs a key`() async throws {
        try await server().withClient { client in
            for path in ["/health", "/v1/health", "/livez", "/readyz", "/"] {
                #expect(try await client.get(path).status == 200, "\(path)")
            }
            for path in ["/v1/models", "/v1/models/one", "/metrics"] {
                try await client.get(path).expectError(401, code: "invalid_api_key")
            }
            for path in [
                "/v1/chat/completions", "/v1/completions", "/v1/embeddings",
                "/v1/load_lora_adapter", "/v1/unload_lora_adapter", "/tokenize", "/detokenize",
                "/apply-template",
            ] {
                try await client.post(path, [:]).expectError(401, code: "invalid_api_key")
            }
        }
    }

    @Test func `a key is taken from either header, whole and with its scheme`() async throws {
        try await server().withClient { client in
            let name = try #require(HTTPField.Name("x-api-key"))
            let cases: [(HTTPFields, Int)] = [
                (Self.bearer("sk-operator"), 200), ([.authorization: "bearer sk-operator"], 200),
                ([name: "sk-guest"], 200), ([name: "sk-guess"], 401),
                (Self.bearer("sk-operato"), 401), (Self.bearer("sk-operatorx"), 401),
                ([.authorization: "Bearer"], 401), ([.authorization: "Basic sk-operator"], 401),
            ]
            for (headers, status) in cases {
                let answer = try await client.get("/v1/models", headers: headers)
                #expect(answer.status == status, "\(headers)")
            }
        }
    }

    @Test func `a key calls its adapters alone, and loads only if it may`() async throws {
        try await server().withClient { client in
            let guest = Self.bearer("sk-guest")
            let models = try await client.get("/v1/models", headers: guest).json["data"]?.array
            #expect(models?.map { $0["id"]?.string } == ["one"])
            func chat(_ more: JSON) async throws -> TestAnswer {
                var body: JSON = [
                    "messages": [["role": "user", "content": "x"]], "max_tokens": 1,
                ]
                for (key, value) in more.object ?? [:] { body[key] = value }
                return try await client.post("/v1/chat/completions", body, headers: guest)
            }
            #expect(try await chat(["model": "one"]).status == 200)
            for more: JSON in [
                [:], ["model": "tiny"], ["model": "two"], ["model": "two@00000000"],
                ["adapters": [["name": "one"], ["name": "two"]]],
            ] {
                try await chat(more).expectError(403, parameter: "model", code: "model_not_allowed")
            }
            try await client.get("/v1/models/two", headers: guest).expectError(
                403, parameter: "model")
            let unload: JSON = ["lora_name": "two"]
            try await client.post("/v1/unload_lora_adapter", unload, headers: guest).expectError(
                403)
            try await client.post("/v1/load_lora_adapter", unload, headers: guest).expectError(403)
            let operatorKey = Self.bearer("sk-operator")
            #expect(
                try await client.post("/v1/unload_lora_adapter", unload, headers: operatorKey)
                    .status == 200)
        }
    }

    @Test(arguments: [
        "{}", "{\"keys\": []}", "{\"keys\": [5]}", "{\"keys\": [{}]}",
        "{\"keys\": [{\"key\": \"\"}]}",
        "{\"keys\": [{\"key\": \"a\", \"sha256\": \"b\"}]}", "{\"keys\": [{\"sha256\": \"abc\"}]}",
        "{\"keys\": [{\"key\": \"a\", \"adapters\": \"x\"}]}",
        "{\"keys\": [{\"key\": \"a\", \"load\": 1}]}",
        "{\"keys\": [{\"key\": \"a\", \"adaptors\": []}]}",
        "{\"keys\": [{\"key\": \"a\"}, {\"key\": \"a\"}]}",
    ])
    func `a file of keys that is not right is refused`(text: String) throws {
        let json = try JSON(parsing: text, source: "keys")
        #expect(throws: LorikeetError.self) { try keys(json) }
    }

    @Test func `without origins no other page may ask, with them those alone`() async throws {
        let origin: HTTPFields = [.origin: "https://page.example"]
        try await TestServer().withClient { client in
            // What a page can send without asking before.
            let answer = try await client.post("/tokenize", "{}", headers: origin)
            try answer.expectError(403, code: "origin_not_allowed")
            let own: HTTPFields = [.origin: "http://localhost"]
            #expect(
                try await client.post("/tokenize", "{\"content\": \"a\"}", headers: own).status
                    == 200)
            #expect(
                try await client.get("/health", headers: origin)
                    .headers[.accessControlAllowOrigin] == nil)
        }
        let server = try TestServer { $0.corsOrigins = ["https://page.example"] }
        try await server.withClient { client in
            let answer = try await client.post(
                "/tokenize", "{\"content\": \"a\"}", headers: origin)
            #expect(answer.status == 200)
            #expect(answer.headers[.accessControlAllowOrigin] == "https://page.example")
            #expect(answer.headers[.accessControlAllowCredentials] == nil)
            let other: HTTPFields = [.origin: "https://other.example"]
            try await client.post("/tokenize", "{}", headers: other).expectError(403)
        }
    }

    @Test func `a browser's question before a request is answered without a key`() async throws {
        let keys = try keys(Self.file)
        let server = try TestServer {
            $0.keys = keys
            $0.corsOrigins = ["https://page.example"]
        }
        try await server.withClient { client in
            let answer = try await client.options(
                "/v1/chat/completions",
                headers: [
                    .origin: "https://page.example", .accessControlRequestMethod: "POST",
                    .accessControlRequestHeaders: "authorization",
                ])
            #expect(answer.status == 204)
            #expect(answer.headers[.accessControlAllowHeaders] == "authorization")
            let other = try await client.options(
                "/v1/chat/completions", headers: [.origin: "https://other.example"])
            #expect(other.headers[.accessControlAllowOrigin] == nil)
        }
    }
}
