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

    /// Runs `lorikeet` with `arguments`, by way of a shell with `limits` when there are any.
    static func run(
        _ arguments: [String], input: String = "", limits: String? = nil
    ) throws -> Outcome {
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
        try process.run()
        // Both pipes are drained at once: a full one would stop the program.
        let errors = Drain(stderr)
        stdin.fileHandleForWriting.write(Data(input.utf8))
        try stdin.fileHandleForWriting.close()
        let output = stdout.fileHandleForReading.readDataToEndOfFile()
        let errorData = errors.wait()
        process.waitUntilExit()
        return Outcome(
            status: process.terminationStatus, output: String(decoding: output, as: UTF8.self),
            errors: String(decoding: errorData, as: UTF8.self))
    }

    private final class Drain: @unchecked Sendable {
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
