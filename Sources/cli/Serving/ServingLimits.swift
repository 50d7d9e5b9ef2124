import ArgumentParser
import LorikeetRuntime
import LorikeetServer

/// How much a server takes on.
struct ServingLimits: ParsableArguments {
    @Option(help: "Answers that are generated at a time.")
    var maxRunning = EngineOptions().runningLimit

    @Option(help: "Answers that wait; past it requests get 429.")
    var maxWaiting = EngineOptions().waitingLimit

    @Option(help: "The longest sequence, prompt and answer, in tokens; default: the model's.")
    var contextLength: Int?

    @Option(help: "The longest prompt, in tokens; default: what the context holds.")
    var maxPromptTokens: Int?

    @Option(help: "Memory for keys and values, such as 2G.")
    var cacheSize = ByteSize(bytes: EngineOptions().cacheBytes)

    @Option(help: "The longest request body, such as 8Mi.")
    var maxBody = ByteSize(bytes: ServerOptions().bodyLimit)

    @Option(help: "The longest request headers, such as 64Ki.")
    var maxHeaders = ByteSize(bytes: ServerOptions().headerLimit)

    @Option(help: "Connections at a time.")
    var maxConnections = ServerOptions().connectionLimit

    @Option(help: "Seconds that an answer may take.")
    var requestTimeout = 600

    @Option(help: "Seconds after which idle, half-open and slow connections are dropped.")
    var idleTimeout = 60

    @Option(help: "Seconds that running answers get after SIGTERM.")
    var shutdownTimeout = 30

    func validate() throws {
        let counts = [
            ("--max-running", maxRunning), ("--max-waiting", maxWaiting),
            ("--context-length", contextLength ?? 1), ("--max-prompt-tokens", maxPromptTokens ?? 1),
            ("--max-connections", maxConnections), ("--request-timeout", requestTimeout),
            ("--idle-timeout", idleTimeout), ("--shutdown-timeout", shutdownTimeout),
        ]
        for (name, count) in counts where count < 1 {
            throw ValidationError("\(name) \(count): expected 1 or more.")
        }
    }

    /// Sets what they say of HTTP.
    func apply(to options: inout ServerOptions) {
        options.bodyLimit = maxBody.bytes
        options.headerLimit = maxHeaders.bytes
        options.promptLimit = maxPromptTokens
        options.connectionLimit = maxConnections
        options.requestTime = .seconds(requestTimeout)
        options.idleTime = .seconds(idleTimeout)
        options.bodyTime = .seconds(min(idleTimeout, 30))
        options.shutdownTime = .seconds(shutdownTimeout)
    }

    /// What a batcher takes on: its requests share one place to run and to wait.
    var batcher: EncoderBatcherOptions {
        var options = EncoderBatcherOptions()
        options.waitingLimit = maxRunning + maxWaiting
        options.contextLength = contextLength
        return options
    }

    /// The engine's part.
    var engine: EngineOptions {
        var options = EngineOptions()
        options.runningLimit = maxRunning
        options.waitingLimit = maxWaiting
        options.contextLength = contextLength
        options.cacheBytes = cacheSize.bytes
        return options
    }
}
