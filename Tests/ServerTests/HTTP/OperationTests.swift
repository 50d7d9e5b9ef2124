import Foundation
import HTTPTypes
import LorikeetRuntime
import LorikeetServer
import Testing

struct OperationTests {
    @Test func `metrics have vLLM's names and count by adapter`() async throws {
        let server = try TestServer(adapters: ["one"])
        try await server.withClient { client in
            _ = try await client.chat()
            _ = try await client.chat("hello", ["model": "one", "n": 2])
            _ = try await client.post(
                "/v1/load_lora_adapter", ["lora_name": "x", "lora_path": "/nowhere"])
            let answer = try await client.get("/metrics")
            #expect(answer.headers[.contentType]?.hasPrefix("text/plain; version=0.0.4") == true)
            let lines = answer.text.split(separator: "\n").map(String.init)
            for line in [
                "vllm:num_requests_running{model_name=\"tiny\"} 0",
                "vllm:num_requests_waiting{model_name=\"tiny\"} 0",
                "vllm:generation_tokens_total{model_name=\"tiny\"} 24",
                "vllm:request_success_total{model_name=\"tiny\",finished_reason=\"length\"} 3",
                "vllm:time_to_first_token_seconds_count{model_name=\"tiny\"} 3",
                "vllm:e2e_request_latency_seconds_bucket{model_name=\"tiny\",le=\"+Inf\"} 3",
                "lorikeet:adapter_requests_total{adapter=\"\"} 1",
                "lorikeet:adapter_requests_total{adapter=\"one\"} 2",
                "lorikeet:adapter_generation_tokens_total{adapter=\"one\"} 16",
                "lorikeet:adapter_loads_total{outcome=\"failure\"} 1",
                "lorikeet:http_requests_total{route=\"/v1/chat/completions\",status=\"200\"} 2",
                "# TYPE vllm:e2e_request_latency_seconds histogram",
            ] {
                #expect(lines.contains(line), "\(line)")
            }
            for name in [
                "vllm:kv_cache_usage_perc", "vllm:prefix_cache_queries_total",
                "vllm:prefix_cache_hits_total", "vllm:time_per_output_token_seconds_sum",
                "vllm:lora_requests_info{max_lora=\"1\"", "process_resident_memory_bytes",
            ] {
                #expect(lines.contains { $0.hasPrefix(name) }, "\(name)")
            }
        }
    }

    @Test func `while the model is loaded requests get 503 and are told to come again`()
        async throws
    {
        let server = try TestServer(isOpen: false)
        try await server.withClient { client in
            #expect(try await client.get("/livez").status == 200)
            for path in ["/health", "/v1/health", "/readyz"] {
                let answer = try await client.get(path)
                #expect(answer.status == 503 && answer.text.contains("Loading model"))
            }
            let refused = [
                try await client.chat(), try await client.get("/v1/models"),
                try await client.get("/"), try await client.get("/no/such/route"),
            ]
            for answer in refused {
                try answer.expectError(503, code: "loading")
                #expect((answer.headers[.retryAfter].flatMap { Int($0) } ?? 0) >= 1)
            }
            try server.server.open()
            #expect(try await client.get("/health").json == ["status": "ok"])
            #expect(try await client.chat().status == 200)
            try await client.get("/no/such/route").expectError(404, code: "not_found")
        }
    }

    @Test func `a request's name comes back, or a new one`() async throws {
        let name = try #require(HTTPField.Name("x-request-id"))
        try await TestServer().withClient { client in
            #expect(try await client.get("/health", headers: [name: "a-1"]).headers[name] == "a-1")
            let one = try await client.get("/health").headers[name]
            #expect(one?.count == 36)
            #expect(try await client.get("/health").headers[name] != one)
            // Also of an error, and not a name that would spoil a log.
            let long = String(repeating: "a", count: 500)
            for bad in [long, "a b", "a\"b"] {
                let answer = try await client.get("/v1/nothing", headers: [name: bad])
                #expect(answer.headers[name]?.count == 36)
            }
        }
    }

    @Test func `the page may run its own scripts and nothing else`() async throws {
        try await TestServer().withClient { client in
            let answer = try await client.get("/")
            #expect(answer.headers[.contentType] == "text/html; charset=utf-8")
            let policy = try #require(answer.headers[.contentSecurityPolicy])
            for part in ["default-src 'none'", "connect-src 'self'", "frame-ancestors 'none'"] {
                #expect(policy.contains(part), "\(part)")
            }
            #expect(!policy.contains("unsafe"))
            #expect(policy.contains("style-src 'sha256-"))
            #expect(answer.text.contains("<!doctype html>"))
        }
    }

    @Test func `a full queue answers 429 and says when to come again`() async throws {
        var options = EngineOptions()
        options.runningLimit = 1
        options.waitingLimit = 1
        let server = try TestServer(engine: options)
        try await server.withClient { client in
            // Two answers fill the engine; a third is one too many.
            let more: JSON = ["max_tokens": 900, "ignore_eos": true]
            let answers = try await withThrowingTaskGroup(of: TestAnswer.self) { group in
                for _ in 0..<6 { group.addTask { try await client.chat("hello", more) } }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            let refused = answers.filter { $0.status == 429 }
            #expect(!refused.isEmpty && refused.count < 6)
            #expect(answers.allSatisfy { [200, 429].contains($0.status) })
            for answer in refused {
                try answer.expectError(429, code: "queue_full")
                #expect((answer.headers[.retryAfter].flatMap { Int($0) } ?? 0) >= 1)
            }
            // All places are free again.
            #expect(try await client.chat().status == 200)
            try await client.chat("hello", ["n": 3]).expectError(400, parameter: "n")
        }
    }

    @Test func `an answer that takes too long is cut off`() async throws {
        let server = try TestServer { $0.requestTime = .microseconds(1) }
        try await server.withClient { client in
            let more: JSON = ["max_tokens": 900, "ignore_eos": true, "n": 64]
            let answer = try await client.chat("hello", more)
            try answer.expectError(504, code: "timeout")
            #expect(answer.headers[try #require(HTTPField.Name("x-should-retry"))] == "false")
            var streamed = more
            streamed["stream"] = true
            let stream = try await client.chat("hello", streamed)
            // The status was sent before: the error is an event.
            #expect(stream.status == 200)
            let chunks = try stream.chunks()
            #expect(chunks.last?["error"]?["code"]?.string == "timeout")
        }
    }

    @Test func `a stream on which nothing happens says that it lives`() async throws {
        let server = try TestServer { $0.pauseTime = .milliseconds(2) }
        try await server.withClient { client in
            let answer = try await client.chat(
                "hello", ["stream": true, "max_tokens": 900, "ignore_eos": true])
            #expect(answer.text.contains("\n: ping\n\n"))
            #expect(try answer.chunks().count > 2)
        }
    }
}
