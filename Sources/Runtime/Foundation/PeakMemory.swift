import Foundation

/// The largest resident set of this process so far, in bytes (getrusage).
public func peakMemoryBytes() -> Int {
    var usage = rusage()
    guard getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage) == 0 else { return 0 }
    return usage.ru_maxrss * 1024
}
