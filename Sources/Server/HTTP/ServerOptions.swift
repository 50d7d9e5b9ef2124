/// How a server is reached, and what it allows.
public struct ServerOptions: Sendable {
    /// The address to listen at.
    public var host = "127.0.0.1"
    /// The port to listen at; 0 for any that is free.
    public var port = 8080
    /// What requests call the base.
    public var modelName = "base"
    /// The program's version, for the fingerprint of answers.
    public var version = "0"
    /// Who may ask; nil for everybody.
    public var keys: APIKeys?
    /// Origins of pages, other than the server's own, that may ask; `*` for all.
    public var corsOrigins: [String] = []
    /// The certificate chain, a PEM file; with it the server speaks TLS alone.
    public var tlsCertificate: String?
    /// The certificate's key, a PEM file.
    public var tlsKey: String?
    /// The longest body of a request, in bytes.
    public var bodyLimit = 8 << 20
    /// All headers of a request, in bytes.
    public var headerLimit = 64 << 10
    /// The longest prompt, in tokens; nil for what the context holds.
    public var promptLimit: Int?
    /// Connections at a time; more wait to be accepted.
    public var connectionLimit = 4096
    /// The longest time that an answer may take.
    public var requestTime = Duration.seconds(600)
    /// The longest time that a request's body may take to arrive.
    public var bodyTime = Duration.seconds(30)
    /// After what time a connection is dropped on which nothing happens, a request is not complete, or the
    /// client does not read.
    public var idleTime = Duration.seconds(60)
    /// How often a stream on which nothing happens says that it lives.
    public var pauseTime = Duration.seconds(10)
    /// How long running answers may go on once the server is to end.
    public var shutdownTime = Duration.seconds(30)

    /// On port 8080 of this machine alone, open to everybody on it.
    public init() {}
}
