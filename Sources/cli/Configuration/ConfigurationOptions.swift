import ArgumentParser

/// What commands take whose flags can come from a file.
struct ConfigurationOptions: ParsableArguments {
    /// Read by `ConfigurationFile` before the arguments are parsed; here for the help.
    @Option(help: "A YAML file of flags by their long names; those of the command line come first.")
    var config: String?
}
