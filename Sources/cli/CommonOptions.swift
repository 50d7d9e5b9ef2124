public import ArgumentParser
public import LorikeetQuant

/// What every command takes.
struct CommonOptions: ParsableArguments {
    @Flag(help: "Print one JSON object on standard output and everything else on standard error.")
    var json = false

    @Option(help: "Threads to compute on; default: one a core.")
    var threads: Int?

    func validate() throws {
        if let threads, !(1...1024).contains(threads) {
            throw ValidationError("--threads \(threads): expected 1 to 1024.")
        }
        if let name = InstructionSet.requested, InstructionSet.named(name) == nil {
            let names = InstructionSet.supported.map(\.name).joined(separator: ", ")
            throw ValidationError("LORIKEET_ISA=\(name): this machine has \(names).")
        }
    }

    /// How many threads the command computes on.
    var threadCount: Int { threads ?? ThreadPool.defaultCount }

    /// The kernels and threads that the command computes on.
    func compute(_ precision: PrecisionOptions, unlessGiven usual: Precision = .int16) -> Compute {
        Compute(threads: threads, precision: precision.precision ?? usual)
    }

    /// The same for commands that run no model.
    func compute() -> Compute { Compute(threads: threads) }
}

/// What commands take that run a model.
struct PrecisionOptions: ParsableArguments {
    @Option(
        help: """
            Arithmetic of the products with weights: int16 (the default, but for logits and evaluate), fp32 (exact) or \
            int8 (fastest).
            """)
    var precision: Precision?

    /// - Throws: `ValidationError` for a precision that has no gradients.
    func requireGradients() throws {
        guard precision != .int8 else {
            throw ValidationError("--precision int8: gradients need int16 or fp32.")
        }
    }
}

extension Precision: ExpressibleByArgument {}

/// What commands take that write an output.
struct OutputOptions: ParsableArguments {
    @Flag(help: "Replace the output if it exists.")
    var force = false
}
