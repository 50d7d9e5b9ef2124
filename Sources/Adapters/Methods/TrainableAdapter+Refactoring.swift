import LorikeetQuant

extension TrainableAdapter {
    /// Runs `body` for every layer, on all threads, and gathers what became of each.
    ///
    /// A layer's outcome depends on its own factors alone, so threads change nothing.
    func refactorEachModule(
        _ compute: Compute, _ body: (Module) -> RefactoringOutcome
    )
        -> RefactoringReport
    {
        var outcomes = [RefactoringOutcome](repeating: .failed, count: modules.count)
        outcomes.withUnsafeMutableBufferPointer { outcomes in
            // Each item is written by whoever takes its layer.
            nonisolated(unsafe) let outcomes = outcomes
            compute.pool.run(pieces: modules.count) { _, index in
                outcomes[index] = body(modules[index])
            }
        }
        return outcomes.reduce(into: RefactoringReport()) { $0.add($1) }
    }
}
