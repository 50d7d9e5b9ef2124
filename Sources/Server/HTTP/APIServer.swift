import Foundation
public import Hummingbird
import HummingbirdCore
import HummingbirdTLS
public import Logging
import LorikeetRuntime
public import NIOCore
import NIOSSL
import ServiceLifecycle
import UnixSignals

/// Serves a model and its adapters over HTTP, in the way of OpenAI's API.
///
/// ```swift
/// let server = try APIServer(
///     engine: Engine(model), adapters: adapters, baseDigest: try model.baseDigest(),
///     options: options, logger: Logger(label: "lorikeet"))
/// try await server.run { port in print("ready on port \(port)") }
/// ```
public final class APIServer: Sendable {
    private let api: API
    private let options: ServerOptions
    private let logger: Logger

    /// A server that does not listen yet.
    ///
    /// - Parameters:
    ///   - engine: what generates; the server stops it when it ends.
    ///   - adapters: what requests may name.
    ///   - baseDigest: the base's digest.
    ///   - options: how it is reached, and what it allows.
    ///   - logger: where it logs; never what is said.
    /// - Throws: `LorikeetError` for a checkpoint's generation_config.json or a certificate that cannot be
    ///   read.
    public init(
        engine: Engine, adapters: any ServedAdapters, baseDigest: String, options: ServerOptions,
        logger: Logger
    ) throws {
        api = try API(
            engine: engine, adapters: adapters, baseDigest: baseDigest, options: options)
        self.options = options
        self.logger = logger
        _ = try Self.tls(options)
    }

    /// Serves until SIGTERM or SIGINT.
    ///
    /// Then no more requests are taken, and those that run end or time out; a second signal cuts them off.
    ///
    /// - Parameter onReady: gets the port once clients can connect.
    /// - Throws: `LorikeetError` for an address that it cannot listen at.
    public func run(onReady: @escaping @Sendable (Int) -> Void) async throws {
        let application = try application { channel in onReady(channel.localAddress?.port ?? 0) }
        let group = ServiceGroup(configuration: configuration(of: application))
        let signals = await UnixSignalsSequence(trapping: .sigterm, .sigint)
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await group.run() }
            tasks.addTask { [self] in
                var ending: Task<Void, Never>?
                for await _ in signals {
                    ending?.cancel()
                    ending = ending ?? Task { await self.end(group) }
                }
            }
            do {
                try await tasks.next()
            } catch {
                throw unavailable(error)
            }
            tasks.cancelAll()
        }
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
        let admission = api.admission
        admission.drain()
        logger.info(
            "no more requests", metadata: ["running": .stringConvertible(admission.count)])
        if await !admission.waitUntilEmpty(for: options.shutdownTime) {
            logger.warning("answers are cut off")
        }
        api.engine.stop(cancelling: true)
        await api.engine.waitUntilStopped()
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
        let idle = TimeAmount(options.idleTime)
        let connections = api.connections
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
            router: api.router(), server: server ?? http,
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
