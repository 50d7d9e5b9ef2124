import ArgumentParser
import Foundation
import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime

/// `lorikeet classify --model DIR [--adapter PATH] TEXT…`.
struct Classify: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Judge texts by an encoder with a head: their classes, or a number each.",
        discussion: "Without TEXT the texts are read from standard input, one a line.")

    @Option(name: [.short, .long], help: "A Hugging Face folder of an encoder, quantized or not.")
    var model: String

    @Option(name: [.short, .long], help: "A PEFT folder or a bundle, trained with --task.")
    var adapter: String?

    @Flag(help: "Every two texts are a pair.")
    var pairs = false

    @Argument(help: "The texts.")
    var texts: [String] = []

    @OptionGroup var precision: PrecisionOptions
    @OptionGroup var common: CommonOptions

    func run() throws {
        let encoder = try TextEncoder(path: model, compute: common.compute(precision))
        let classifier = try SequenceClassifier(encoder, adapter: adapter)
        let texts = texts.isEmpty ? Self.standardInput() : texts
        guard !texts.isEmpty, !pairs || texts.count.isMultiple(of: 2) else {
            throw ValidationError(
                texts.isEmpty ? "Expected a text." : "--pairs: expected an even number of texts.")
        }
        let step = pairs ? 2 : 1
        let inputs = stride(from: 0, to: texts.count, by: step).map {
            (texts[$0], pair: pairs ? texts[$0 + 1] : nil)
        }
        let judgements = try classifier(inputs)
        if common.json {
            Terminal.print([
                "results": .array(judgements.map { $0.json(labels: classifier.task.labels) })
            ])
        } else {
            for (input, judgement) in zip(inputs, judgements) {
                let text = [input.0, input.pair].compactMap(\.self).joined(separator: "\t")
                Terminal.print("\(judgement.line(labels: classifier.task.labels))\t\(text)")
            }
        }
    }

    private static func standardInput() -> [String] {
        let data = FileHandle.standardInput.readDataToEndOfFile()
        return String(decoding: data, as: UTF8.self).split(separator: "\n").map(String.init)
    }
}

extension SequenceTask.Judgement {
    /// label and scores by label, or the score.
    fileprivate func json(labels: [String]) -> JSON {
        guard let label else { return ["score": .double(scores[0])] }
        var byLabel = JSON.Object()
        for (name, score) in zip(labels, scores) { byLabel[name] = .double(score) }
        return ["label": .string(label), "scores": .object(byLabel)]
    }

    /// `entailment 0.9871`, or the number.
    fileprivate func line(labels: [String]) -> String {
        guard let label else { return String(format: "%.4f", scores[0]) }
        return "\(label) \(String(format: "%.4f", scores.max() ?? 0))"
    }
}
