import LorikeetQuant
import LorikeetRuntime

/// Ends a run at the first number that is not finite, and says where it came from.
///
/// A sound step costs it a look at numbers that are there anyway; what follows is worked out only when
/// one of them is bad: the layer in which the backward pass first left the finite numbers, and the row
/// that does so alone.
struct Sentinel {
    /// The step, from 1.
    let step: Int
    /// The run's rows.
    let rows: any TrainingRows
    /// Which of them the step takes.
    let batch: [Int]

    // A gradient's square is a moment in fp32, and no element is larger than the norm.
    private static let largestNorm = Double(Float.greatestFiniteMagnitude).squareRoot()

    /// Requires that the model has seen targets; without any the loss is exactly 0 and teaches nothing.
    ///
    /// A loss of 0 over targets is another thing: they are known by heart.
    func requireTargets(_ count: Int) throws {
        guard count == 0 else { return }
        throw LorikeetError(
            .invalidArgument, "training",
            "the loss is exactly 0 at step \(step): none of the tokens of \(names) is a target",
            advice: "Leave such rows out, or look at what masks them.")
    }

    /// Requires a loss and a gradient's norm that are finite.
    ///
    /// - Parameters:
    ///   - loss: of the batch.
    ///   - norm: of all gradients together.
    ///   - adapter: whose gradients these are; they are of no use when this throws.
    ///   - again: adds the gradients of one of the batch's rows by its place, and returns its loss; asked of
    ///     each when something is not finite.
    /// - Throws: the error that names step, layer and row.
    func requireFinite(
        loss: Double, norm: Double, of adapter: TrainableAdapter, again: (Int) throws -> Double
    ) throws {
        guard !loss.isFinite || !(norm <= Self.largestNorm) else { return }
        let what = loss.isFinite ? "gradient's norm is \(norm)" : "loss is \(loss)"
        // Backward goes from the last layer to the first, so the last that is bad was the first.
        let layer = adapter.modules.reversed().lazy.flatMap { module in
            module.parameters.reversed().lazy.map { ("\(module.path), \($0.name)", $0.gradient) }
        }.first { $0.1.elements.contains { !$0.isFinite } }?.0
        let row = try batch.indices.first { try !isSound($0, adapter, again) }
            .map { rows.name(of: batch[$0]) }
        adapter.zeroGradients()
        let place = layer.map { ", in the backward pass first at \($0)" } ?? ""
        let source = row.map { "; \($0) alone makes it so" } ?? "; none of \(names) does so alone"
        throw LorikeetError(
            .invalidArgument, "training", "the \(what) at step \(step)\(place)\(source)",
            advice:
                "Lower --learning-rate, set --max-gradient-norm, or look at \(row ?? "these rows")."
        )
    }

    /// Requires that the optimizer's step has left the factors finite.
    func requireFiniteFactors(of adapter: TrainableAdapter) throws {
        guard !adapter.isFinite else { return }
        let place = adapter.modules.lazy.flatMap { module in
            module.parameters.lazy.map { ("\(module.path), \($0.name)", $0.values) }
        }.first { $0.1.elements.contains { !$0.isFinite } }?.0
        throw LorikeetError(
            .invalidArgument, "training",
            "step \(step) has made \(place ?? "a factor") a number that is not finite",
            advice: "Lower --learning-rate.")
    }

    private func isSound(
        _ place: Int, _ adapter: TrainableAdapter, _ again: (Int) throws -> Double
    ) throws -> Bool {
        adapter.zeroGradients()
        let loss = try again(place)
        return loss.isFinite && adapter.gradientNorm() <= Self.largestNorm
    }

    private var names: String {
        let shown = batch.prefix(8).map(rows.name(of:)).joined(separator: ", ")
        return batch.count > 8 ? "\(shown) and \(batch.count - 8) more" : shown
    }
}
