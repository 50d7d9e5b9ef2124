public import ArgumentParser
import Foundation
public import LorikeetAdapters
import LorikeetRuntime

/// Which layers are adapted, by which method, from which start.
struct MethodOptions: ParsableArguments {
    @Option(help: "lora, rslora, loraplus, dora, reflora or reflora-s; default: reflora.")
    var method: MethodName?

    @Option(help: "Rank of the factors.")
    var rank = 16

    @Option(help: "The low-rank term is scaled by alpha / rank; default: twice the rank.")
    var alpha: Double?

    @Option(
        help: "Layers to adapt, separated by commas; default: all seven linear layers of a block.")
    var targetModules = LinearModule.allCases.map(\.rawValue).joined(separator: ",")

    @Option(
        name: .customLong("init"),
        help: "How factors begin: default, gaussian, orthogonal, pissa, loftq or eva.")
    var initialization = Initialization.kaiming

    @Option(help: "Start from this PEFT folder or bundle instead of at random.")
    var initAdapter: String?

    @Option(
        help: "RefLoRA: plain LoRA steps at the start; default: a sixth of the run, 100 at most.")
    var refloraWarmup: Int?

    @Option(help: "RefLoRA: refactor at every how many steps.")
    var refloraInterval = 1

    func validate() throws {
        guard (1...1024).contains(rank) else {
            throw ValidationError("--rank \(rank): expected 1 to 1024.")
        }
        guard alpha.map({ $0 > 0 && $0.isFinite }) ?? true else {
            throw ValidationError("--alpha: expected more than 0.")
        }
        guard initAdapter == nil || initialization == .kaiming else {
            throw ValidationError("Give --init or --init-adapter, not both.")
        }
        _ = try modules()
    }

    func apply(to options: inout FineTuning.Options) throws {
        options.rank = rank
        options.alpha = alpha
        options.targetModules = try modules()
        options.initialization = initialization
        options.initialAdapter = initAdapter
        if let method { options.training.method = method }
        options.training.refactoringWarmup = refloraWarmup
        options.training.refactoringInterval = refloraInterval
    }

    private func modules() throws -> [LinearModule] {
        try targetModules.split(separator: ",").map { name in
            guard let module = LinearModule(rawValue: name.trimmingCharacters(in: .whitespaces))
            else {
                let names = LinearModule.allCases.map(\.rawValue).joined(separator: ", ")
                throw ValidationError("--target-modules: '\(name)' is none of \(names).")
            }
            return module
        }
    }
}

extension MethodName: ExpressibleByArgument {}
extension Initialization: ExpressibleByArgument {}
