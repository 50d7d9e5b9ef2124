#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// How the learning rate moves over a run, as transformers' `get_*_schedule_with_warmup`.
public enum LearningRateSchedule: String, CaseIterable, Sendable, Codable {
    /// Falls in a straight line.
    case linear
    /// Falls along half a cosine.
    case cosine
    /// Falls along half a cosine several times, each time from the peak.
    case cosineWithRestarts = "cosine-with-restarts"
    /// Falls as a power of what is left of the run.
    case polynomial
    /// Falls as 1/√step, whatever the run's length.
    case inverseSquareRoot = "inverse-sqrt"
    /// Stays, and falls along half a cosine over the last steps.
    case warmupStableDecay = "wsd"
    /// Stays.
    case constant

    /// The curves' parameters.
    public struct Shape: Sendable, Equatable {
        /// What `linear`, `cosine`, `cosine-with-restarts`, `polynomial` and `wsd` end at, of the peak.
        public var floor = 0.0
        /// The power of `polynomial`.
        public var power = 2.0
        /// How many times `cosine-with-restarts` falls.
        public var cycles = 2
        /// The part of the run over which `wsd` falls.
        public var decayRatio = 0.1

        /// Curves that end at zero.
        public init() {}
    }

    /// What multiplies the peak rate at the step with this index, from 0: rises in a straight line from
    /// zero over `warmup` steps, then follows the curve to the end of the run at `total`.
    public func factor(step: Int, warmup: Int, total: Int, shape: Shape = Shape()) -> Double {
        if step < warmup { return Double(step) / Double(max(1, warmup)) }
        let progress = Double(step - warmup) / Double(max(1, total - warmup))
        func halfCosine(_ part: Double) -> Double { max(0, 0.5 * (1 + cos(.pi * part))) }
        func aboveFloor(_ curve: Double) -> Double { curve * (1 - shape.floor) + shape.floor }
        switch self {
        case .linear: return aboveFloor(max(0, 1 - progress))
        case .cosine: return aboveFloor(halfCosine(progress))
        case .cosineWithRestarts:
            let cycle = (Double(shape.cycles) * progress).truncatingRemainder(dividingBy: 1)
            return aboveFloor(progress < 1 ? halfCosine(cycle) : 0)
        case .polynomial: return aboveFloor(pow(max(0, 1 - progress), shape.power))
        case .inverseSquareRoot:
            // transformers' timescale: the warm-up, or 10,000 steps.
            let timescale = Double(warmup > 0 ? warmup : 10_000)
            return 1 / ((Double(step - warmup) + timescale) / timescale).squareRoot()
        case .warmupStableDecay:
            let decay = Int((shape.decayRatio * Double(total)).rounded(.up))
            let start = max(warmup, total - decay)
            let fallen = Double(step - start) / Double(max(1, total - start))
            return step < start ? 1 : aboveFloor(halfCosine(min(1, fallen)))
        case .constant: return 1
        }
    }
}
