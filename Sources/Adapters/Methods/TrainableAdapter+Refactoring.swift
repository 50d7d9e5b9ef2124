import LorikeetQuant

extension TrainableAdapter {
    /// Runs `body` for all layers, `count` at once, on all threads, and gathers what became of each.
    ///
    /// A layer's outcome depends on its own factors alone, so threads change nothing.
    func refactorModules(
        _ compute: Compute, atOnce count: Int = 1,
        _ body: (_ thread: Int, _ modules: ArraySlice<Module>) -> [RefactoringOutcome]
    )
        -> RefactoringReport
    {
        let pieces = (modules.count + count - 1) / count
        var outcomes = [[RefactoringOutcome]](repeating: [], count: pieces)
        outcomes.withUnsafeMutableBufferPointer { outcomes in
            // Each item is written by whoever takes its layers.
            nonisolated(unsafe) let outcomes = outcomes
            compute.pool.run(pieces: pieces) { thread, piece in
                outcomes[piece] = body(thread, modules[(piece * count)...].prefix(count))
            }
        }
        return outcomes.joined().reduce(into: RefactoringReport()) { $0.add($1) }
    }

    /// Runs `body` for each layer, with what its thread needs to work on factors.
    func refactorModules(
        _ compute: Compute, each body: (Module, FactorAlgebra) -> RefactoringOutcome
    )
        -> RefactoringReport
    {
        let algebras = FactorAlgebra.ofThreads(rank: rank, compute)
        return refactorModules(compute) { thread, modules in
            modules.map { body($0, algebras[thread]) }
        }
    }
}
