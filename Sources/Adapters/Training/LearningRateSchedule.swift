#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// How the learning rate moves over a run, as transformers' `get_*_schedule_with_warmup`.
public enum LearningRateSchedule: String, CaseIterable, Sendable, Codable {
    /// Falls in a straight line to zero.
    case linear
    /// Falls to zero along half a cosine.
    case cosine
    /// Stays.
    case constant

    /// What multiplies the peak rate at the step with this index, from 0: rises in a straight line from
    /// zero over `warmup` steps, then follows the curve to the end of the run at `total`.
    public func factor(step: Int, warmup: Int, total: Int) -> Double {
        if step < warmup { return Double(step) / Double(max(1, warmup)) }
        let progress = Double(step - warmup) / Double(max(1, total - warmup))
        return switch self {
        case .linear: max(0, 1 - progress)
        case .cosine: max(0, 0.5 * (1 + cos(.pi * progress)))
        case .constant: 1
        }
    }
}
