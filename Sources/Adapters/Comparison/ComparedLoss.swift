/// The loss that runs are compared by.
public enum ComparedLoss: Sendable, Equatable {
    /// Of each step's own rows, smoothed, for they are few.
    case training(Smoothing)
    /// Of held-out rows, the same at every measurement, where a run measures them as it goes on.
    case validation

    /// The held-out rows' where each of `runs` measured it several times, else that of training.
    init(of runs: [RunMetrics], smoothing: Smoothing) {
        let isMeasured = runs.allSatisfy { $0.values("validation_loss").count > 1 }
        self = isMeasured && !runs.isEmpty ? .validation : .training(smoothing)
    }

    /// How a run's loss went.
    func points(of metrics: RunMetrics) -> [ChartSeries.Point] {
        switch self {
        case .training(let smoothing): smoothing(metrics.points(key))
        case .validation: metrics.points(key)
        }
    }

    /// The first of the points that is believed: before as many steps as are smoothed over, a single batch may
    /// decide.
    var firstBelieved: Int {
        switch self {
        case .training(let smoothing): smoothing.count - 1
        case .validation: 0
        }
    }

    /// Its key in metrics.jsonl.
    var key: String {
        switch self {
        case .training: "loss"
        case .validation: "validation_loss"
        }
    }
}
