import Foundation
import HTTPTypes
import Hummingbird
import LorikeetRuntime

extension API {
    /// `POST /v1/embeddings`: of each input the mean of its tokens' last hidden states, of length 1.
    func embeddings(_ request: Request, _ context: APIContext) async throws -> Response {
        let ticket = try admission.enter()
        defer { withExtendedLifetime(ticket) {} }
        let fields = try await fields(of: request)
        let selection = try ModelSelection(fields)
        let inputs = try PromptInput.list(fields.required("input"), name: "input")
        let isBase64 = try Self.isBase64(fields)
        guard fields.value("dimensions") == nil else {
            throw APIError.unsupported("dimensions", "dimensions is not supported.")
        }
        let adapter = try await adapter(for: selection, context)
        let prompts = try await prepare { [model] in inputs.map { $0.tokens(model.tokenizer) } }
        for prompt in prompts { try check(prompt, parameter: "input") }
        var data: [JSON] = []
        for (index, prompt) in prompts.enumerated() {
            // One at a time: answers go on in between.
            let vector = try await engine.perform { pass in
                let cache = pass.makeCache(capacity: prompt.count)
                return try pass.meanHiddenState(
                    of: prompt, cache: cache, adapter: adapter?.engine.deltas)
            }
            data.append([
                "object": "embedding", "index": .int(index),
                "embedding": Self.json(vector.normalized, isBase64: isBase64),
            ])
        }
        let count = prompts.reduce(0) { $0 + $1.count }
        return .json([
            "object": "list", "data": .array(data),
            "model": .string(selection.name ?? options.modelName),
            "usage": ["prompt_tokens": .int(count), "total_tokens": .int(count)],
        ])
    }

    // openai-python asks for base64, and decodes it.
    private static func isBase64(_ fields: RequestFields) throws -> Bool {
        switch try fields.string("encoding_format") {
        case nil, "float": return false
        case "base64": return true
        case let format?:
            throw APIError.invalid(
                "encoding_format",
                "encoding_format: expected float or base64, got \"\(format)\".")
        }
    }

    /// The numbers, or their bytes in little-endian order.
    private static func json(_ vector: [Float], isBase64: Bool) -> JSON {
        guard isBase64 else { return .array(vector.map { .double(Double($0)) }) }
        let words = vector.map(\.bitPattern.littleEndian)
        return .string(words.withUnsafeBytes { Data($0).base64EncodedString() })
    }
}

extension [Float] {
    /// Divided by the length; zeros stay zeros.
    fileprivate var normalized: [Float] {
        let length = reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
        return length > 0 ? map { Float(Double($0) / length) } : self
    }
}
