import Foundation
public import Hummingbird
import HummingbirdCore
import HummingbirdTLS
public import Logging
import LorikeetRuntime
public import NIOCore
import NIOSSL
import ServiceLifecycle
import Synchronization
import UnixSignals

/// Serves a model and its adapters over HTTP, in the way of OpenAI's API.
///
/// ```swift
/// let server = try APIServer(options: options, logger: Logger(label: "lorikeet")) {
///     let model = try LanguageModel(path: path)
///     return ServedModel(
///         engine: Engine(model), adapters: adapters, baseDigest: try model.baseDigest())
/// }
/// try await server.run { port in print("ready on port \(port)") }
/// ```
public final class APIServer: Sendable {
    private let options: ServerOptions
    private let logger: Logger
    private let load: @Sendable () throws -> ServedModel
    private let metrics: ServerMetrics
    private let connections = ConnectionWatch()
    private let routes: Routes
    // Nil until the model is loaded.
    private let api = Mutex<API?>(nil)

    /// A server that does not listen yet.
    ///
    /// - Parameters:
    ///   - options: how it is reached, and what it allows.
    ///   - logger: where it logs; never what is said.
    ///   - load: loads what it serves, on a thread of its own once the server listens.
    /// - Throws: `LorikeetError` for a certificate that cannot be read.
    public init(
        options: ServerOptions, logger: Logger,
        load: @escaping @Sendable () throws -> ServedModel
    ) throws {
        self.options = options
        self.logger = logger
        self.load = load
        metrics = ServerMetrics(model: options.modelName)
        routes = Routes(whileLoading: options, metrics: metrics)
        _ = try Self.tls(options)
    }

    /// Loads the model and its adapters, and takes requests from now on; until then they get 503.
    ///
    /// - Throws: what loading throws; `LorikeetError` for a checkpoint's generation_config.json that cannot be
    ///   read.
    package func open() throws {
        let api = API(try load(), options: options, metrics: metrics, connections: connections)
        try routes.open(api)
        self.api.withLock { $0 = api }
    }

    /// The names of the adapters that there are.
    public var adapterNames: [String] {
        api.withLock { $0 }?.adapters.list.map(\.name) ?? []
    }

    /// Listens, loads the model, and serves until SIGTERM or SIGINT.
    ///
    /// Then no more requests are taken, and those that run end or time out; a second signal cuts them off.
    ///
    /// - Parameter onReady: gets the port once requests are taken.
    /// - Throws: `LorikeetError` for an address that it cannot listen at; what loading throws.
    public func run(onReady: @escaping @Sendable (Int) -> Void) async throws {
        let (ports, listening) = AsyncStream.makeStream(of: Int.self)
        let application = try application { channel in
            listening.yield(channel.localAddress?.port ?? 0)
        }
        let group = ServiceGroup(configuration: configuration(of: application))
        let signals = await UnixSignalsSequence(trapping: .sigterm, .sigint)
        try await withThrowingTaskGroup(of: Event.self) { tasks in
            tasks.addTask {
                try await group.run()
                return .ended
            }
            tasks.addTask { [self] in
                for await port in ports {
                    do {
                        guard try await isOpened() else { break }
                        onReady(port)
                    } catch {
                        return .failedToLoad(error)
                    }
                }
                return .loaded
            }
            tasks.addTask { [self] in
                var ending: Task<Void, Never>?
                for await _ in signals {
                    ending?.cancel()
                    ending = ending ?? Task { await self.end(group) }
                }
                return .ended
            }
            defer { tasks.cancelAll() }
            var failure: (any Error)?
            while let event = try await next(of: &tasks) {
                switch event {
                case .loaded: continue
                case .failedToLoad(let error):
                    failure = error
                    await group.triggerGracefulShutdown()
                case .ended:
                    if let failure { throw failure }
                    return
                }
            }
        }
    }

    /// What happens to a server that runs.
    private enum Event: Sendable {
        case loaded
        case failedToLoad(any Error)
        case ended
    }

    private func next(
        of tasks: inout ThrowingTaskGroup<Event, any Error>
    ) async throws -> Event? {
        do {
            return try await tasks.next()
        } catch {
            throw unavailable(error)
        }
    }

    /// Opens the server on a thread of its own; false where the task is cancelled meanwhile.
    private func isOpened() async throws -> Bool {
        let (results, result) = AsyncThrowingStream.makeStream(of: Void.self)
        let thread = Thread { [self] in
            do {
                try open()
                result.yield()
            } catch {
                result.finish(throwing: error)
            }
        }
        // As the main thread's: loading a model was made for that.
        thread.stackSize = 8 << 20
        thread.start()
        for try await _ in results { return true }
        return false
    }

    /// What is wrong with the address, if that is what `error` says.
    private func unavailable(_ error: any Error) -> any Error {
        let problem: String
        switch error {
        case let error as IOError: problem = String(cString: strerror(error.errnoCode))
        case is SocketAddressError, is SocketAddressError.UnknownHost:
            problem = "no address of this machine"
        default: return error
        }
        return LorikeetError(
            .io, "\(options.host):\(options.port)", "the server cannot listen there: \(problem)",
            advice: "Name another --host or --port; --port 0 takes any that is free.")
    }

    /// Lets running answers end, until it is cancelled; then ends the engine and the connections.
    private func end(_ group: ServiceGroup) async {
        guard let api = api.withLock({ $0 }) else { return await group.triggerGracefulShutdown() }
        let admission = api.admission
        admission.drain()
        logger.info(
            "no more requests", metadata: ["running": .stringConvertible(admission.count)])
        if await !admission.waitUntilEmpty(for: options.shutdownTime) {
            logger.warning("answers are cut off")
        }
        api.runner.stop(cancelling: true)
        await api.runner.waitUntilStopped()
        await group.triggerGracefulShutdown()
    }

    private func configuration(of application: some Service) -> ServiceGroupConfiguration {
        var configuration = ServiceGroupConfiguration(services: [application], logger: quiet)
        // For clients that do not read the end of their answer.
        configuration.maximumGracefulShutdownDuration = .seconds(5)
        return configuration
    }

    // What the framework logs of its own at "info" is of no use to an operator.
    private var quiet: Logger {
        var logger = logger
        logger.logLevel = max(logger.logLevel, .notice)
        return logger
    }

    /// The server as a Hummingbird application, for who runs it with services of its own or tests it.
    ///
    /// - Parameter onRunning: gets the channel that listens.
    /// - Returns: the application.
    /// - Throws: `LorikeetError` for a certificate that cannot be read.
    public func application(
        onRunning: @escaping @Sendable (any Channel) async -> Void = { _ in }
    ) throws -> some ApplicationProtocol {
        let (idle, connections) = (TimeAmount(options.idleTime), connections)
        let http = HTTPServerBuilder.http1(
            configuration: HTTP1Channel.Configuration(
                additionalChannelHandlers: [ConnectionGuard(connections, stallTime: idle)],
                idleTimeout: idle,
                httpDecoderConfiguration: .init(
                    maxHeaderFieldSize: options.headerLimit, maxHeaderListSize: options.headerLimit,
                    maxHeaderFieldCount: 200)))
        let server = try Self.tls(options).map {
            try HTTPServerBuilder.tls(http, tlsConfiguration: $0)
        }
        return Application(
            responder: routes, server: server ?? http,
            configuration: ApplicationConfiguration(
                address: .hostname(options.host, port: options.port), serverName: "lorikeet",
                backlog: 1024,
                availableConnectionsDelegate: MaximumAvailableConnections(
                    options.connectionLimit, logger: quiet)),
            onServerRunning: onRunning, logger: logger)
    }

    private static func tls(_ options: ServerOptions) throws -> TLSConfiguration? {
        guard let certificate = options.tlsCertificate, let key = options.tlsKey else { return nil }
        func read<Value>(_ path: String, _ body: () throws -> Value) throws -> Value {
            do {
                return try body()
            } catch {
                throw LorikeetError(
                    .malformed, path, "cannot be used for TLS: \(error)",
                    expected: "a PEM file")
            }
        }
        let chain = try read(certificate) {
            try NIOSSLCertificate.fromPEMFile(certificate).map(NIOSSLCertificateSource.certificate)
        }
        let secret = try read(key) { try NIOSSLPrivateKey(file: key, format: .pem) }
        return .makeServerConfiguration(
            certificateChain: chain, privateKey: .privateKey(secret))
    }
}
