// Kernels of every instruction set and thread count, then the verbs on the default model, each beside
// the ceiling that was probed in the same run.
import Foundation
import LorikeetQuant
import LorikeetRuntime

let (model, gguf) = ("models/cache/smollm2-nf4", "models/cache/SmolLM2-135M-Instruct.Q4_1.gguf")
var table = Table(isJSON: CommandLine.arguments.contains("--json"))

let cores = ProcessInfo.processInfo.activeProcessorCount
let layers = (0..<24).map { _ in randomWeights(rows: 4096, columns: 4096, on: Compute()) }
for set in InstructionSet.supported where set.name != "scalar" {
    for threads in Set([1, cores]).sorted() {
        let computes = Precision.allCases.map {
            Compute(threads: threads, precision: $0, instructionSet: set)
        }
        let ceiling = Ceiling(computes[0])
        table.add(ceiling.rows)
        table.add(measureFormat(on: computes[0], ceiling))
        for compute in computes { table.add(measureProducts(layers, on: compute, ceiling)) }
        table.add(measureAttention(on: computes[0], ceiling))
        // Halves, as serving has them.
        table.add(measureLowRank(on: computes[1], ceiling))
    }
}

let checkpoint = try Checkpoints.open(model)
for precision in Precision.allCases { table.add(try measureGeneration(checkpoint, precision)) }
table.add(try measureAdapters(checkpoint))
table.add(try measureTraining(checkpoint))

let folder = FileManager.default.temporaryDirectory.appending(path: "lorikeet-\(UUID().uuidString)")
    .path(percentEncoded: false)
try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
defer { try? FileManager.default.removeItem(atPath: folder) }
table.add(try measureQuantizing(Checkpoints.open(gguf), into: folder))
table.add(try measureSwap(model, in: folder))
try table.finish()
