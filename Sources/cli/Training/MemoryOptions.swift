public import ArgumentParser
import LorikeetAdapters
public import LorikeetRuntime

/// How much memory a run may take.
struct MemoryOptions: ParsableArguments {
    @Option(
        help: """
            Plan for no more than this: 2G, 512M, 1.5GiB or bytes. Passes become smaller and blocks run forward \
            twice as needed; the rows of a step stay the same.
            """)
    var maxMemory: ByteSize?

    func apply(to options: inout FineTuning.Options) { options.maximumMemory = maxMemory?.bytes }
}

extension ByteSize: ExpressibleByArgument {
    /// Reads the flag's value.
    public init?(argument: String) { self.init(argument) }
}
