import Synchronization

extension ThreadPool {
    /// Runs `body` once for every item of 0 ..< count; a thread that is free takes the next item.
    ///
    /// For items of unequal cost (attention over rows of different lengths). Which thread gets which
    /// item depends on timing, so `body` must write what belongs to its item and nothing else.
    public func each(_ count: Int, _ body: (_ thread: Int, _ item: Int) -> Void) {
        guard count > 1, self.count > 1 else {
            for item in 0..<count { body(0, item) }
            return
        }
        let next = Atomic<Int>(0)
        run { thread in
            while true {
                let item = next.add(1, ordering: .relaxed).oldValue
                guard item < count else { return }
                body(thread, item)
            }
        }
    }
}
