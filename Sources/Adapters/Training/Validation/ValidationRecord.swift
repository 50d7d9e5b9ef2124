/// What a run's evaluations have found so far.
public struct ValidationRecord: Sendable, Equatable {
    /// The last mean loss.
    public internal(set) var lastLoss: Double
    /// The lowest mean loss.
    public internal(set) var bestLoss: Double
    /// The step after which it was lowest; the first of several.
    public internal(set) var bestStep: Int
    /// Evaluations since the last improvement.
    public internal(set) var evaluationsSinceImprovement: Int

    /// Begins with the evaluation after `step`.
    init(loss: Double, step: Int) {
        (lastLoss, bestLoss, bestStep, evaluationsSinceImprovement) = (loss, loss, step, 0)
    }

    /// Takes the evaluation after `step`; an improvement is a fall of more than `minimum` below the best.
    mutating func add(loss: Double, step: Int, minimumImprovement minimum: Double) {
        let improves = loss < bestLoss - minimum
        evaluationsSinceImprovement = improves ? 0 : evaluationsSinceImprovement + 1
        if loss < bestLoss { (bestLoss, bestStep) = (loss, step) }
        lastLoss = loss
    }
}
