/// What a run's evaluations have found so far.
public struct ValidationRecord: Sendable, Equatable {
    /// The last mean loss.
    public internal(set) var lastLoss: Double
    /// The lowest mean loss.
    public internal(set) var bestLoss: Double
    /// The step after which it was lowest; the first of several.
    public internal(set) var bestStep: Int
    /// The last value of the metric that decides; nil where the loss does.
    public internal(set) var lastScore: Double?
    /// Its highest value, at `bestStep`.
    public internal(set) var bestScore: Double?
    /// Evaluations since the last improvement.
    public internal(set) var evaluationsSinceImprovement: Int

    /// Begins with the evaluation after `step`.
    init(loss: Double, score: Double? = nil, step: Int) {
        (lastLoss, bestLoss, bestStep, evaluationsSinceImprovement) = (loss, loss, step, 0)
        lastScore = score
        bestScore = score
    }

    /// Takes the evaluation after `step`; an improvement is a fall of the loss, or a rise of the score, of more
    /// than `minimum` beyond the best.
    mutating func add(
        loss: Double, score: Double? = nil, step: Int, minimumImprovement minimum: Double
    ) {
        let gain: Double
        if let score, let bestScore {
            gain = score - bestScore
        } else {
            gain = bestLoss - loss
        }
        evaluationsSinceImprovement = gain > minimum ? 0 : evaluationsSinceImprovement + 1
        if gain > 0 { (bestLoss, bestScore, bestStep) = (loss, score, step) }
        (lastLoss, lastScore) = (loss, score)
    }
}
