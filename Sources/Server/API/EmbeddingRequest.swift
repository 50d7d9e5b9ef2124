import Foundation
import LorikeetRuntime

/// The body of `POST /v1/embeddings`, and the shape of its answer.
struct EmbeddingRequest {
    /// Which adapter answers.
    var model: ModelSelection
    /// What gets a vector each.
    var inputs: [PromptInput]
    // openai-python asks for base64, and decodes it.
    private var isBase64: Bool

    /// Reads a request.
    ///
    /// - Throws: `APIError` that names the parameter.
    init(_ fields: RequestFields) throws {
        model = try ModelSelection(fields)
        inputs = try PromptInput.list(fields.required("input"), name: "input")
        try PromptInput.check(count: inputs.count, name: "input")
        switch try fields.string("encoding_format") {
        case nil, "float": isBase64 = false
        case "base64": isBase64 = true
        case let format?:
            throw APIError.invalid(
                "encoding_format",
                "encoding_format: expected float or base64, got \"\(format)\".")
        }
        guard fields.value("dimensions") == nil else {
            throw APIError.unsupported("dimensions", "dimensions is not supported.")
        }
    }

    /// OpenAI's list of vectors, one an input.
    func answer(_ vectors: [[Float]], tokens: Int, model: String) -> JSON {
        let data = vectors.enumerated().map { index, vector -> JSON in
            ["object": "embedding", "index": .int(index), "embedding": json(vector)]
        }
        return [
            "object": "list", "data": .array(data), "model": .string(model),
            "usage": ["prompt_tokens": .int(tokens), "total_tokens": .int(tokens)],
        ]
    }

    /// The numbers, or their bytes in little-endian order.
    private func json(_ vector: [Float]) -> JSON {
        guard isBase64 else { return .array(vector.map { .double(Double($0)) }) }
        let words = vector.map(\.bitPattern.littleEndian)
        return .string(words.withUnsafeBytes { Data($0).base64EncodedString() })
    }
}
