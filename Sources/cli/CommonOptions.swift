import ArgumentParser
import LorikeetQuant

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

    /// The kernels and threads that the command computes on.
    func compute() -> Compute { Compute(threads: threads) }
}

/// What commands take that run a model.
struct PrecisionOptions: ParsableArguments {
    /// The arithmetic of the products with weights.
    enum Precision: String, ExpressibleByArgument, CaseIterable {
        case fp32
    }

    @Option(help: "Arithmetic of the products with weights: fp32 is exact.")
    var precision = Precision.fp32
}

/// What commands take that write an output.
struct OutputOptions: ParsableArguments {
    @Flag(help: "Replace the output if it exists.")
    var force = false
}
