import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime

/// Swapping an adapter in a running process: its bundle is read, decompressed, checked against digests,
/// base and shapes, and takes the place of the one before.
func measureSwap(_ path: String, in folder: String) throws -> Row {
    let compute = Compute()
    let model = try LanguageModel(path: path, compute: compute)
    let rank = 16
    var random = SeededGenerator(seed: 1)
    func factor(_ count: Int) -> Buffer<Float> {
        Buffer((0..<count).map { _ in Float(random.uniform() - 0.5) / 16 })
    }
    var deltas: [ModulePath: LowRankDelta] = [:]
    for shape in TrainableAdapter.Shape.shapes(
        of: model.model.configuration.modules.all, in: model.model.configuration)
    {
        deltas[shape.path] = LowRankDelta(
            a: factor(rank * shape.inputSize), b: factor(shape.outputSize * rank), rank: rank,
            scale: 2)
    }
    let configuration = AdapterConfiguration(
        rank: rank, alpha: Double(2 * rank),
        targetModules: .list(model.model.configuration.modules.all.map(\.name)))
    var options = AdapterBundle.Options()
    try options.state(model)
    let bundle = folder + "/swap.\(AdapterBundle.pathExtension)"
    try AdapterBundle.pack(
        Adapter(name: "swap", configuration: configuration, deltas: deltas), to: bundle,
        options: options)
    // The base's digest is taken once, by the first load.
    let registry = AdapterRegistry(model)
    let time = try seconds { _ = try registry.load(name: "swap", path: bundle) }
    return Row("swap a bundle of rank \(rank), fp32", on: compute, 1000 * time, "ms")
}
