import Foundation
import LorikeetRuntime

/// The built program, run as a user runs it.
enum Program {
    struct Outcome {
        var status: Int32
        var output: String
        var errors: String

        /// Standard output as the one JSON object that --json promises.
        var json: JSON {
            get throws { try JSON(parsing: output, source: "standard output") }
        }
    }

    /// The program at work.
    final class Running {
        private let process: Process
        private let output: Drain
        private let errors: Drain

        fileprivate init(_ process: Process, output: Drain, errors: Drain) {
            (self.process, self.output, self.errors) = (process, output, errors)
        }

        var isRunning: Bool { process.isRunning }

        func send(_ signal: Int32) { kill(process.processIdentifier, signal) }

        /// Waits for the end.
        func outcome() -> Outcome {
            let (output, errors) = (output.wait(), errors.wait())
            process.waitUntilExit()
            return Outcome(
                status: process.terminationStatus, output: String(decoding: output, as: UTF8.self),
                errors: String(decoding: errors, as: UTF8.self))
        }
    }

    /// Runs `lorikeet` with `arguments`, by way of a shell with `limits` when there are any.
    static func run(
        _ arguments: [String], input: String = "", limits: String? = nil
    ) throws -> Outcome {
        try start(arguments, input: input, limits: limits).outcome()
    }

    /// The same, without waiting for the end.
    static func start(
        _ arguments: [String], input: String = "", limits: String? = nil
    ) throws -> Running {
        // Beside the test bundle: .build/release
        let program = URL(filePath: CommandLine.arguments[0]).deletingLastPathComponent()
            .appending(path: "lorikeet").path(percentEncoded: false)
        let process = Process()
        if let limits {
            process.executableURL = URL(filePath: "/bin/bash")
            process.arguments = ["-c", limits + "; exec \"$0\" \"$@\"", program] + arguments
        } else {
            process.executableURL = URL(filePath: program)
            process.arguments = arguments
        }
        let (stdin, stdout, stderr) = (Pipe(), Pipe(), Pipe())
        process.standardInput = stdin
        process.standardOutput = stdout
        process.standardError = stderr
        // Tests run on threads that block signals, which the program would inherit.
        var (none, usual) = (sigset_t(), sigset_t())
        sigemptyset(&none)
        pthread_sigmask(SIG_SETMASK, &none, &usual)
        defer { pthread_sigmask(SIG_SETMASK, &usual, nil) }
        try process.run()
        // Both pipes are drained at once: a full one would stop the program.
        let (output, errors) = (Drain(stdout), Drain(stderr))
        stdin.fileHandleForWriting.write(Data(input.utf8))
        try stdin.fileHandleForWriting.close()
        return Running(process, output: output, errors: errors)
    }

    fileprivate final class Drain: @unchecked Sendable {
        // Unchecked: `data` is written before the semaphore is signalled and read after.
        private var data = Data()
        private let done = DispatchSemaphore(value: 0)

        init(_ pipe: Pipe) {
            Thread.detachNewThread { [self] in
                data = pipe.fileHandleForReading.readDataToEndOfFile()
                done.signal()
            }
        }

        func wait() -> Data {
            done.wait()
            return data
        }
    }
}
