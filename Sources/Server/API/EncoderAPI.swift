import Foundation
import HTTPTypes
import Hummingbird
import Logging
import LorikeetAdapters
import LorikeetRuntime

/// The routes of an encoder, which judges texts and makes vectors of them: its batcher lets the texts of many
/// requests share passes.
struct EncoderAPI: Sendable {
    let api: API
    let batcher: EncoderBatcher
    let adapters: any ServedAdapters<EncoderAdapter>
    /// What the base judges; nil without a head.
    let task: SequenceTask?

    init(_ api: API, _ batcher: EncoderBatcher, _ adapters: any ServedAdapters<EncoderAdapter>) {
        (self.api, self.batcher, self.adapters) = (api, batcher, adapters)
        task = SequenceTask(nil, over: batcher.encoder)
    }

    /// Where texts are judged: our path, and vLLM's.
    static let classifyPaths: [RouterPath] = ["v1/classify", "classify"]

    /// Adds the routes to `router`.
    func add(to router: Router<APIContext>) {
        for path in Self.classifyPaths { router.post(path, use: classify) }
        router.post("v1/embeddings", use: embeddings)
        for path: RouterPath in ["v1/chat/completions", "v1/completions"] {
            router.refuse(
                path,
                "This model is an encoder, which does not generate: use /v1/classify or /v1/embeddings."
            )
        }
    }

    /// The rows of a request's inputs.
    ///
    /// - Parameters:
    ///   - inputs: texts, pairs or tokens.
    ///   - truncation: the request's `truncate_prompt_tokens`; nil refuses what is too long.
    ///   - limit: the most tokens that the model takes of one.
    /// - Returns: a row for each input.
    /// - Throws: `APIError` for one that is too long, or has tokens that the model does not have.
    func rows(
        _ inputs: [EncoderInput], truncation: Truncation?, limit: Int
    ) async throws -> [TrainingRow] {
        let limit = min(limit, api.options.promptLimit ?? .max, batcher.contextLength)
        return try await api.prepare { [batcher] in
            let rows = try inputs.enumerated().map { index, input in
                let (row, count) = input.row(
                    batcher.encoder.tokenizer, atMost: truncation?.length(within: limit) ?? limit)
                guard truncation != nil || count <= limit else {
                    throw APIError(
                        .badRequest,
                        "input[\(index)] has \(count) tokens; this server takes at most \(limit). Shorten it, or have it cut: \"truncate_prompt_tokens\": -1.",
                        parameter: "input", code: "context_length_exceeded")
                }
                return row
            }
            do {
                try batcher.check(rows)
            } catch let error as LorikeetError {
                throw APIError.invalid("input", error.description)
            }
            return rows
        }
    }

    /// What the model makes of `rows`, counted and logged; given up when the client is gone.
    func outputs(
        _ output: EncoderRequest.Output, of rows: [TrainingRow],
        adapter: SelectedAdapter<EncoderAdapter>?, model: String, _ context: APIContext
    ) async throws -> [[Float]] {
        let start = ContinuousClock().now
        let request = EncoderRequest(rows, for: output, adapter: adapter?.terms)
        let outputs = try await api.answer(context) { [batcher] in
            try await batcher.outputs(of: request)
        }
        let (time, tokens) = (ContinuousClock().now - start, rows.tokenCount)
        api.metrics.encoded(
            tokens: tokens, adapter: adapter?.name ?? "", after: time,
            queueSeconds: outputs.queueSeconds)
        context.logger.info(
            "answer",
            metadata: [
                "model": .string(model), "texts": .stringConvertible(rows.count),
                "prompt_tokens": .stringConvertible(tokens),
                "seconds": .string(String(format: "%.3f", time.seconds)),
            ])
        return outputs.values
    }
}

/// vLLM's `truncate_prompt_tokens`: to how many tokens inputs are cut.
struct Truncation: Sendable {
    /// How many; nil for as many as the model takes.
    private var count: Int?

    /// Reads the field; nil without one.
    ///
    /// - Throws: `APIError` for one that is neither -1 nor a count.
    init?(_ fields: RequestFields) throws {
        guard let count = try fields.int("truncate_prompt_tokens", in: -1 ... .max) else {
            return nil
        }
        guard count != 0 else {
            throw APIError.invalid(
                "truncate_prompt_tokens",
                "truncate_prompt_tokens: expected -1 for as many as the model takes, or 1 or more, got 0."
            )
        }
        self.count = count > 0 ? count : nil
    }

    /// The most tokens of an input of which the model takes `limit`.
    func length(within limit: Int) -> Int { min(count ?? limit, limit) }
}

extension [TrainingRow] {
    /// The tokens of all.
    var tokenCount: Int { reduce(0) { $0 + $1.inputIDs.count } }
}
