public import ArgumentParser
import Foundation
public import LorikeetAdapters
import LorikeetRuntime

/// Which layers are adapted, by which method, from which start.
struct MethodOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "\(MethodName.allCases.map(\.rawValue).joined(separator: ", ")); default: reflora.",
            valueName: "name"))
    var method: MethodName?

    @Option(help: "Rank of the factors.")
    var rank = 16

    @Option(help: "The low-rank term is scaled by alpha / rank; default: twice the rank.")
    var alpha: Double?

    @Option(
        help: "Layers to adapt, separated by commas; default: all linear layers of a block.")
    var targetModules: String?

    @Option(help: "How factors begin: default, gaussian, orthogonal, pissa, loftq or eva.")
    var `init` = Initialization.kaiming

    @Option(help: "Start from this PEFT folder or bundle instead of at random.")
    var initAdapter: String?

    @Option(
        help: "RefLoRA: plain LoRA steps at the start; default: a sixth of the run, 100 at most.")
    var refloraWarmup: Int?

    @Option(help: "RefLoRA: refactor at every how many steps.")
    var refloraInterval = 1

    @Option(help: "LoRA+: B's learning rate over A's.")
    var loraplusRatio = 16.0

    @Option(
        help: """
            preclora, lora-fa, lora-pro: what is added to the Gram matrices before they are inverted; \
            default: 1e-2, 1e-8 and 1e-8.
            """)
    var damping: Double?

    @Option(help: "AdaLoRA: the mean rank at the end; default: two thirds of --rank.")
    var adaloraTargetRank: Int?

    @Option(help: "AdaLoRA: steps before ranks fall; default: a tenth of the run.")
    var adaloraWarmup: Int?

    @Option(help: "AdaLoRA: steps after ranks have fallen; default: a third of the run.")
    var adaloraFinal: Int?

    @Option(help: "AdaLoRA: choose anew at every how many steps.")
    var adaloraInterval = 1

    func validate() throws {
        guard (1...1024).contains(rank) else {
            throw ValidationError("--rank \(rank): expected 1 to 1024.")
        }
        guard alpha.map({ $0 > 0 && $0.isFinite }) ?? true else {
            throw ValidationError("--alpha: expected more than 0.")
        }
        guard initAdapter == nil || `init` == .kaiming else {
            throw ValidationError("Give --init or --init-adapter, not both.")
        }
        guard adaloraTargetRank.map({ (1...rank).contains($0) }) ?? true else {
            throw ValidationError("--adalora-target-rank: expected 1 to --rank, \(rank).")
        }
    }

    func apply(to options: inout FineTuning.Options) throws {
        options.rank = rank
        options.alpha = alpha
        options.targetModules =
            targetModules?.split(separator: ",").map {
                $0.trimmingCharacters(in: .whitespaces)
            } ?? []
        options.initialization = `init`
        options.initialAdapter = initAdapter
        if let method { options.training.method = method }
        options.training.refactoringWarmup = refloraWarmup
        options.training.refactoringInterval = refloraInterval
        options.training.learningRateRatio = loraplusRatio
        options.training.damping = damping
        options.training.adaLoRA.targetRank = adaloraTargetRank
        options.training.adaLoRA.warmup = adaloraWarmup
        options.training.adaLoRA.final = adaloraFinal
        options.training.adaLoRA.interval = adaloraInterval
    }
}

extension MethodName: ExpressibleByArgument {}
extension Initialization: ExpressibleByArgument {}
