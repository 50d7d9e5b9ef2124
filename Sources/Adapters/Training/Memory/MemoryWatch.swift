import LorikeetRuntime

/// Compares the memory that a run takes with what it may take, and says so once where it takes more.
package struct MemoryWatch {
    /// What was planned.
    let plan: MemoryPlan
    /// The most that it may take, in bytes; nil for any amount.
    let limit: Int?
    private var hasWarned = false

    /// A watch over a run of this plan.
    package init(_ plan: MemoryPlan, limit: Int?) {
        self.plan = plan
        self.limit = limit
    }

    /// Returns the process's peak so far, and tells `note` if it is the first above the limit.
    @discardableResult
    package mutating func check(_ note: (String) -> Void) -> Int {
        let peak = peakMemoryBytes()
        if let limit, peak > limit, !hasWarned {
            hasWarned = true
            note(
                "--max-memory \(ByteSize(bytes: limit)): the run has taken \(ByteSize(bytes: peak)), "
                    + "\(ByteSize(bytes: plan.peak)) were planned"
            )
        }
        return peak
    }
}
