import Foundation
import HTTPTypes
import Hummingbird
import LorikeetAdapters
import LorikeetRuntime

extension EncoderAPI {
    /// `POST /v1/classify`: what each text, or pair of texts, is judged as; vLLM's shape.
    func classify(_ request: Request, _ context: APIContext) async throws -> Response {
        let ticket = try api.admission.enter()
        defer { withExtendedLifetime(ticket) {} }
        let fields = try await api.fields(of: request)
        let selection = try ModelSelection(fields)
        let inputs = try EncoderInput.list(fields.required("input"), name: "input")
        try PromptInput.check(count: inputs.count, name: "input")
        let truncation = try Truncation(fields)
        let model = selection.name ?? api.options.modelName
        let adapter = try await api.adapter(for: selection, in: adapters, context)
        guard let task = adapter.map(\.terms.task) ?? task else {
            throw APIError.unsupported(
                "model", "\(model) has no classifier: name an adapter that was trained with --task."
            )
        }
        let rows = try await rows(inputs, truncation: truncation, limit: batcher.contextLength)
        let outputs = try await outputs(.logits, of: rows, adapter: adapter, model: model, context)
        let tokens = rows.tokenCount
        return .json([
            "id": .string(CompletionIdentity.newID("classify")), "object": "list",
            "created": .int(Int(Date().timeIntervalSince1970)), "model": .string(model),
            "data": .array(
                outputs.enumerated().map { task.judgement(of: $1).json(index: $0) }),
            "usage": [
                "prompt_tokens": .int(tokens), "completion_tokens": 0, "total_tokens": .int(tokens),
            ],
        ])
    }
}

extension SequenceTask.Judgement {
    /// vLLM's entry of a class; of a number, which vLLM does not have, its `score`.
    fileprivate func json(index: Int) -> JSON {
        guard let label else {
            return [
                "index": .int(index), "label": nil, "score": .double(scores[0]), "probs": [],
                "num_classes": 1,
            ]
        }
        return [
            "index": .int(index), "label": .string(label),
            "probs": .array(scores.map { .double($0) }), "num_classes": .int(scores.count),
        ]
    }
}
