public import ArgumentParser
public import Logging
import LorikeetServer

/// Where a server listens, who may ask, and what it logs.
struct ListeningOptions: ParsableArguments {
    @Option(help: "The address to listen at; 0.0.0.0 for all of this machine's.")
    var host = "127.0.0.1"

    @Option(help: "The port to listen at; 0 for any that is free.")
    var port = 8080

    @Option(help: "A JSON file of the keys that may ask, and what for (docs/serving.md).")
    var apiKeys: String?

    @Option(help: "An origin whose pages may ask, or *; may be repeated. Default: none.")
    var corsOrigin: [String] = []

    @Option(help: "A certificate chain, PEM; with --tls-key the server speaks HTTPS alone.")
    var tlsCertificate: String?

    @Option(help: "The certificate's key, PEM.")
    var tlsKey: String?

    @Option(help: "What to log: trace, debug, info, notice, warning, error or critical.")
    var logLevel = Logger.Level.info

    func validate() throws {
        guard (0...65535).contains(port) else {
            throw ValidationError("--port \(port): expected 0 to 65535.")
        }
        guard (tlsCertificate == nil) == (tlsKey == nil) else {
            throw ValidationError("--tls-certificate and --tls-key go together.")
        }
    }

    /// Sets what they say.
    func apply(to options: inout ServerOptions) throws {
        options.host = host
        options.port = port
        options.keys = try apiKeys.map { try APIKeys(contentsOf: $0) }
        options.corsOrigins = corsOrigin
        options.tlsCertificate = tlsCertificate
        options.tlsKey = tlsKey
    }

    /// Where the server logs: standard error.
    var logger: Logger {
        var logger = Logger(label: "lorikeet") { StreamLogHandler.standardError(label: $0) }
        logger.logLevel = logLevel
        return logger
    }

    /// What clients connect to.
    func address(port: Int) -> String {
        let host = self.host.contains(":") ? "[\(self.host)]" : self.host
        return "\(tlsKey == nil ? "http" : "https")://\(host):\(port)"
    }

    /// Says so where others than this machine's users can ask without a key.
    func warnIfOpen(_ logger: Logger) {
        guard apiKeys == nil, !["127.0.0.1", "::1", "localhost"].contains(host) else { return }
        logger.warning(
            "everybody who reaches this machine may use the server: there is no --api-keys",
            metadata: ["host": .string(host)])
    }
}

extension Logger.Level: @retroactive ExpressibleByArgument {}
