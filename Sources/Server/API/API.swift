import Foundation
import HTTPTypes
import Hummingbird
import LorikeetAdapters
import LorikeetRuntime
import NIOCore

/// The routes' common ground, whatever the model: the adapters, and what is allowed.
final class API: Sendable {
    /// What is served.
    let served: ServedModel
    /// What runs the model.
    let runner: any ModelRunner
    let adapters: any ServedAdapters
    let options: ServerOptions
    let metrics: ServerMetrics
    let admission: Admission
    let connections: ConnectionWatch
    let page = Page()
    /// When the server started, in seconds since 1970.
    let started = Int(Date().timeIntervalSince1970)
    /// Where prompts are written and tokenized.
    private let preparation = DispatchQueue(label: "preparation")

    init(
        _ served: ServedModel, options: ServerOptions, metrics: ServerMetrics,
        connections: ConnectionWatch
    ) {
        self.served = served
        switch served.model {
        case .decoder(let engine, let adapters): (runner, self.adapters) = (engine, adapters)
        case .encoder(let batcher, let adapters): (runner, self.adapters) = (batcher, adapters)
        }
        self.options = options
        self.metrics = metrics
        self.connections = connections
        admission = Admission(limit: runner.places)
    }

    /// SHA-256 of the base.
    var baseDigest: String { served.baseDigest }

    /// The body of a request, as fields.
    func fields(of request: Request) async throws -> RequestFields {
        let limit = options.bodyLimit
        if let length = request.headers[.contentLength].flatMap({ Int($0) }), length > limit {
            throw NIOTooManyBytesError(maxBytes: limit)
        }
        let body = request.body
        let late = APIError(
            .requestTimeout, "The request's body did not arrive in time.", type: "timeout_error",
            code: "timeout")
        let buffer = try await Self.within(options.bodyTime, orThrow: late) {
            try await body.collect(upTo: limit)
        }
        // Long ones would keep other requests from a thread.
        guard buffer.readableBytes > 1 << 16 else { return try RequestFields(parsing: buffer) }
        return try await prepare { try RequestFields(parsing: buffer) }
    }

    /// Does what needs the processor for long, away from the threads that answer.
    func prepare<Value: Sendable>(
        _ body: @escaping @Sendable () throws -> Value
    ) async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            preparation.async { continuation.resume(with: Result(catching: body)) }
        }
    }

    /// What `body` comes to; it is given up when the client is gone, or after the longest time that an answer
    /// may take.
    func answer<Value: Sendable>(
        _ context: APIContext, _ body: @escaping @Sendable () async throws -> Value
    ) async throws -> Value {
        let task = Task { [time = options.requestTime] in
            try await Self.within(time, orThrow: .lateAnswer, body)
        }
        let token = connections.add(context.channel) { task.cancel() }
        defer { connections.remove(token) }
        return try await task.value
    }

    private static func within<Value: Sendable>(
        _ time: Duration, orThrow error: APIError,
        _ body: @escaping @Sendable () async throws -> Value
    ) async throws -> Value {
        try await withThrowingTaskGroup(of: Value.self) { group in
            group.addTask { try await body() }
            group.addTask {
                try await Task.sleep(for: time)
                throw error
            }
            defer { group.cancelAll() }
            guard let first = try await group.next() else { throw CancellationError() }
            return first
        }
    }

    /// The adapter of `adapters` that answers; nil for the base.
    ///
    /// - Throws: `APIError` for a name that there is not or that the key does not allow.
    func adapter<Terms: Sendable>(
        for selection: ModelSelection, in adapters: any ServedAdapters<Terms>,
        _ context: APIContext
    ) async throws -> SelectedAdapter<Terms>? {
        let name = selection.name == options.modelName ? nil : selection.name
        guard selection.blend.isEmpty else {
            guard name == nil else {
                throw APIError.invalid(
                    "adapters",
                    "adapters goes with \"model\": \"\(options.modelName)\" or no model.")
            }
            return try await find("adapters") {
                for part in selection.blend { try context.requireAccess(to: part.adapter.name) }
                return try await adapters.blend(selection.blend)
            }
        }
        try context.requireAccess(to: name ?? options.modelName)
        guard let name else { return nil }
        return try await find("model") { try await adapters.adapter(named: name) }
    }

    private func find<Terms: Sendable>(
        _ parameter: String, _ body: () async throws -> SelectedAdapter<Terms>
    ) async throws -> SelectedAdapter<Terms> {
        do {
            return try await body()
        } catch let error as LorikeetError {
            // A name that no adapter can have is unknown as well.
            guard
                error.code == .notFound || (parameter == "model" && error.code == .invalidArgument)
            else {
                var answer = APIError(error)
                answer.parameter = parameter
                throw answer
            }
            let names = ([options.modelName] + adapters.list.map(\.name)).joined(separator: ", ")
            throw APIError(
                .notFound, "\(error.description) There are \(names).", parameter: parameter,
                code: "model_not_found")
        }
    }
}

extension RequestFields {
    fileprivate init(parsing buffer: ByteBuffer) throws {
        self = try buffer.withUnsafeReadableBytes { try RequestFields(parsing: $0) }
    }
}
