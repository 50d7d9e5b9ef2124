import Foundation

/// The largest resident set of this process so far, in bytes.
///
/// Linux's VmHWM: unlike getrusage's figure it knows nothing of the process that started this one.
public func peakMemoryBytes() -> Int {
    if let status = try? String(contentsOfFile: "/proc/self/status", encoding: .utf8),
        let line = status.split(separator: "\n").first(where: { $0.hasPrefix("VmHWM:") }),
        let kilobytes = line.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap({
            Int($0)
        })
    {
        return kilobytes * 1024
    }
    var usage = rusage()
    guard getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage) == 0 else { return 0 }
    return usage.ru_maxrss * 1024
}
