public import ArgumentParser
import Foundation
public import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime

/// `lorikeet merge --model DIR --adapter PATH --output DIR`.
struct Merge: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Merge an adapter into its base's weights, and tell what is left of it.",
        discussion: """
            The weights become W + s B A, with DoRA's magnitudes if there are any, stored as bf16 or in 4 bits again. \
            The table has, for each layer, the share of the adapter's change that survives the rounding, \
            <Q(W + D) - Q(W), D> / |D|^2; then the model is compared with the unmerged one on a text. A merge of \
            which less than half survives is refused unless --force is given.
            """)

    @Option(
        name: [.short, .long], help: "A Hugging Face folder, quantized or not, or a GGUF file.")
    var model: String

    @Option(name: [.short, .long], help: "A PEFT folder or a bundle.")
    var adapter: String

    @Option(name: [.short, .long], help: "The folder to write.")
    var output: String

    @Option(name: .customLong("as"), help: "What the merged weights are stored as: bf16 or nf4.")
    var storage = LorikeetAdapters.Merge.Storage.bf16

    @Option(help: "A UTF-8 text to compare the models on; default: a short one of Lorikeet's own.")
    var text: String?

    @Option(help: "The most tokens of it; 0 compares nothing.")
    var probeTokens = 512

    @Flag(help: "Replace the output if it exists, and write a merge that erases the adapter.")
    var force = false

    @OptionGroup var common: CommonOptions

    func validate() throws {
        guard probeTokens >= 0 else {
            throw ValidationError("--probe-tokens \(probeTokens): expected 0 or more.")
        }
    }

    func run() throws {
        try AtomicOutput.requireAbsent(output, unless: force)
        let compute = Compute(threads: common.threads, precision: .fp32)
        let base = try Checkpoints.open(model)
        let files = try TokenizerFiles(base)
        let probe = try probe(files)
        let adapter = try Adapters.read(
            adapter, for: ModelConfiguration(base), baseDigest: { try BaseDigest.of(base) })
        let merge = LorikeetAdapters.Merge(base, adapter, as: storage, on: compute)
        var bar = ProgressBar("measure", total: adapter.moduleCount)
        let survivals = try merge.survivals { done, _ in bar.update(done, "") }
        bar.finish()
        if !common.json { Terminal.print(Self.table(survivals)) }
        if !force { try merge.requireSurvival(survivals) }
        bar = ProgressBar("merge", total: merge.merged.tensorNames.count)
        let written = try merge.write(to: output, tokenizerFiles: files.files, replace: force) {
            bar.update($0.tensors, $0.name)
        }
        bar.finish()
        let divergences = try probe.map {
            try compare($0, base: base, compute: compute)
        }
        report(survivals, written, divergences)
    }

    /// The tokens that the models are compared on; nil where nothing is compared.
    private func probe(_ files: TokenizerFiles) throws -> [Int32]? {
        guard probeTokens > 0, files.vocabulary != nil else { return nil }
        let tokenizer = try files.tokenizer()
        let file = try text.map { try MappedFile(path: $0) }
        let tokens =
            withExtendedLifetime(file) {
                file.map { tokenizer.encode(bytes: $0.bytes) }
            } ?? tokenizer.encode(ProbeText.text)
        guard !tokens.isEmpty else {
            throw LorikeetError(.invalidArgument, text ?? "the text", "it has no tokens")
        }
        return Array(tokens.prefix(probeTokens))
    }

    /// How far the merged model is from the base with the adapter, and the base alone from that.
    private func compare(
        _ tokens: [Int32], base: any Checkpoint, compute: Compute
    ) throws -> (merged: Divergence, base: Divergence) {
        let original = try DecoderModel(checkpoint: base, on: compute)
        let adapters = try Adapters.sum([adapter], over: original, of: base, on: compute)
        let merged = try DecoderModel(checkpoint: Checkpoints.open(output), on: compute)
        func predictor(
            _ model: DecoderModel, _ adapter: (any LowRankDeltas)? = nil
        ) -> Divergence.Predictor {
            .init(model, adapter: adapter, capacity: tokens.count, on: compute)
        }
        let divergences = try Divergence.measure(
            tokens, reference: predictor(original, adapters),
            others: [predictor(merged), predictor(original)], on: compute)
        return (divergences[0], divergences[1])
    }

    private func report(
        _ survivals: [MergeSurvival], _ written: ExportReport,
        _ divergences: (merged: Divergence, base: Divergence)?
    ) {
        let share = MergeSurvival.share(of: survivals)
        if common.json {
            Terminal.print(json(survivals, share, written, divergences))
            return
        }
        Terminal.print(
            String(format: "%.1f %% of the adapter's change survives as ", 100 * share)
                + storage.rawValue)
        if let (merged, base) = divergences {
            Terminal.print(
                String(
                    format: """
                        KL divergence from the unmerged model: %.5f nats a token, the same likeliest token at %.1f %%
                        of the base without the adapter: %.5f, %.1f %%
                        """, merged.divergence, 100 * merged.agreement, base.divergence,
                    100 * base.agreement))
        }
        Terminal.print(
            "\(output): \(Format.bytes(written.bytes)), peak memory "
                + Format.bytes(peakMemoryBytes()))
    }

    private func json(
        _ survivals: [MergeSurvival], _ share: Double, _ written: ExportReport,
        _ divergences: (merged: Divergence, base: Divergence)?
    ) -> JSON {
        func json(_ divergence: Divergence?) -> JSON {
            divergence.map {
                ["kl_divergence": .double($0.divergence), "agreement": .double($0.agreement)]
            } ?? .null
        }
        return [
            "output": .string(output), "as": .string(storage.rawValue),
            "output_bytes": .int(written.bytes), "surviving_share": .double(share),
            "merged": json(divergences?.merged), "base": json(divergences?.base),
            "layers": .array(
                survivals.map {
                    [
                        "name": .string($0.path.description), "surviving_share": .double($0.share),
                        "noise": .double($0.noise), "change": .double($0.change.squareRoot()),
                    ]
                }),
            "peak_memory_bytes": .int(peakMemoryBytes()),
        ]
    }

    /// Blocks down, modules across: the share that survives, in percent.
    private static func table(_ survivals: [MergeSurvival]) -> String {
        let shares = Dictionary(uniqueKeysWithValues: survivals.map { ($0.path, $0.share) })
        let modules = Set(shares.keys.map(\.module)).sorted()
        let rows = Set(shares.keys.map(\.layer)).sorted().map { layer in
            ["\(layer)"]
                + modules.map { module in
                    shares[ModulePath(layer: layer, module: module)].map {
                        String(format: "%.1f %%", 100 * $0)
                    } ?? ""
                }
        }
        return Format.table(
            [["block"] + modules.map(\.name)] + rows,
            rightAligned: Set(0...modules.count))
    }
}

extension LorikeetAdapters.Merge.Storage: ExpressibleByArgument {}
