public import ArgumentParser
public import LorikeetAdapters
import LorikeetRuntime

/// `lorikeet bundle pack|unpack|inspect|verify|keygen|sign`.
struct Bundle: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract:
            "Pack adapters into single compressed files, and unpack, show, check or sign them.",
        subcommands: [
            Pack.self, Unpack.self, Inspect.self, Verify.self, KeyGeneration.self, Sign.self,
        ])

    /// `lorikeet bundle pack FOLDER --output FILE`.
    struct Pack: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Pack a PEFT folder, or encode a bundle anew.")

        @Argument(help: "A PEFT folder or a bundle.")
        var source: String

        @Option(name: [.short, .long], help: "The file to write.")
        var output: String

        @Option(help: "The model the adapter belongs to: the bundle then loads over no other.")
        var model: String?

        @Option(help: "The adapter's name; default: the folder's.")
        var name: String?

        @Flag(help: "Store plain PEFT files instead of byte planes.")
        var portable = false

        @Option(help: "Round the factors to fp32, bf16 or fp16; default: keep every bit.")
        var dtype: FactorType?

        @OptionGroup var outputOptions: OutputOptions
        @OptionGroup var common: CommonOptions

        func run() throws {
            var options = AdapterBundle.Options()
            options.name = name
            options.encoding = portable ? .portable : .planes
            options.type = dtype
            if let model {
                let model = try LanguageModel(path: model, compute: common.compute())
                _ = try Adapters.load(source, over: model)
                try options.state(model)
            }
            let manifest = try AdapterBundle.pack(
                source, to: output, options: options, replace: outputOptions.force)
            report(manifest, output, common)
        }
    }

    /// `lorikeet bundle unpack FILE --output FOLDER`.
    struct Unpack: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Unpack a bundle into a PEFT folder, byte for byte what was packed.")

        @Argument(help: "A bundle.")
        var bundle: String

        @Option(name: [.short, .long], help: "The folder to write.")
        var output: String

        @OptionGroup var outputOptions: OutputOptions
        @OptionGroup var common: CommonOptions

        func run() throws {
            let manifest = try AdapterBundle.unpack(
                bundle, to: output, replace: outputOptions.force)
            report(manifest, output, common)
        }
    }

    /// `lorikeet bundle inspect FILE`.
    struct Inspect: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show a bundle's manifest.")

        @Argument(help: "A bundle.")
        var bundle: String

        @OptionGroup var common: CommonOptions

        func run() throws {
            let manifest = try AdapterBundle.inspect(bundle)
            Terminal.print(manifest.json.text(pretty: !common.json))
        }
    }

    /// `lorikeet bundle verify FILE`.
    struct Verify: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Check a bundle to the last byte, and against a model if one is given.")

        @Argument(help: "A bundle.")
        var bundle: String

        @Option(help: "The model that the adapter is to be loaded over.")
        var model: String?

        @Option(help: "A file of public keys: a bundle that none of them signed is refused.")
        var trustedKeys: String?

        @OptionGroup var common: CommonOptions

        func run() throws {
            let trusted = try trustedKeys.map { try TrustedKeys(path: $0) }
            let manifest = try AdapterBundle.verify(bundle)
            try trusted?.require(manifest.signer, source: bundle)
            if let model {
                _ = try Adapters.load(
                    bundle, over: LanguageModel(path: model, compute: common.compute()))
            }
            report(manifest, bundle, common)
        }
    }
}

extension Bundle {
    /// `lorikeet bundle keygen --output NAME`.
    struct KeyGeneration: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "keygen", abstract: "Make a key pair for signing bundles (Ed25519, PEM).")

        @Option(
            name: [.short, .long],
            help: "The private key's file, for its owner alone; the public key goes to NAME.pub.")
        var output: String

        @OptionGroup var outputOptions: OutputOptions
        @OptionGroup var common: CommonOptions

        func run() throws {
            let key = SigningKey()
            try key.write(to: output, replace: outputOptions.force)
            let fingerprint = key.verifyingKey.fingerprint
            if common.json {
                Terminal.print([
                    "private_key": .string(output), "public_key": .string(output + ".pub"),
                    "fingerprint": .string(fingerprint),
                ])
            } else {
                Terminal.print("\(output) and \(output).pub: \(fingerprint)")
            }
        }
    }

    /// `lorikeet bundle sign FILE --key FILE`.
    struct Sign: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Check a bundle to the last byte and sign it, in place of another signature.")

        @Argument(help: "A bundle.")
        var bundle: String

        @Option(help: "The private key's file.")
        var key: String

        @Option(name: [.short, .long], help: "The signed bundle; default: in place.")
        var output: String?

        @OptionGroup var outputOptions: OutputOptions
        @OptionGroup var common: CommonOptions

        func run() throws {
            if let output {
                try AtomicOutput.requireAbsent(output, unless: outputOptions.force)
            }
            let target = output ?? bundle
            let manifest = try AdapterBundle.sign(bundle, with: SigningKey(path: key), to: target)
            report(manifest, target, common)
        }
    }
}

/// Shows what a bundle holds: its manifest, or a line; and who signed it.
private func report(_ manifest: BundleManifest, _ path: String, _ common: CommonOptions) {
    guard !common.json else {
        var json = manifest.json
        json["signer"] = manifest.signer.map { .string($0.fingerprint) } ?? .null
        return Terminal.print(json)
    }
    Terminal.print(
        "\(path): \(manifest.name), \(manifest.method), rank \(manifest.rank), "
            + "\(manifest.modules) modules, SHA-256 \(manifest.digest.prefix(12))…"
            + (manifest.signer.map { ", signed by \($0.fingerprint.prefix(12))…" } ?? ""))
}

extension FactorType: ExpressibleByArgument {}
