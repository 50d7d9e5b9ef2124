import LorikeetQuant
import LorikeetRuntime

/// The engine's thread: takes requests in, and runs all of them a step at a time.
///
/// A step is one pass over the model: the last token of every answer, and the next tokens of prompts as far as
/// the step's share of them goes.
final class EngineLoop {
    private let model: LanguageModel
    private let options: EngineOptions
    private let inbox: EngineInbox
    private let contextLength: Int
    private let pass: InferencePass
    private let pool: KVPool

    private var waiting = WaitingQueue()
    // In the order in which they began.
    private var running: [EngineSequence] = []
    private var prefixes = PrefixCache()
    private var statistics = EngineStatistics()
    // Of those that ended lately.
    private var meanSeconds = 0.0

    /// A loop over `model`, whose keys and values lie in `pool`.
    init(
        _ model: LanguageModel, options: EngineOptions, contextLength: Int, pool: KVPool,
        inbox: EngineInbox
    ) {
        self.model = model
        self.options = options
        self.inbox = inbox
        self.contextLength = contextLength
        self.pool = pool
        pass = InferencePass(
            model: model.model, compute: model.compute,
            chunk: options.runningLimit + options.prefillTokens)
    }

    /// Runs a step, or waits for something to do; returns false when the engine has ended.
    func step() -> Bool {
        let news = inbox.take()
        for submission in news.incoming {
            waiting.append(
                EngineSequence(submission, model, pool: pool, contextLength: contextLength))
        }
        if news.isCancelling { cancelAll() }
        leave()
        admit()
        news.job?(pass)
        runBatch()
        leave()
        publish()
        guard running.isEmpty, waiting.count == 0, news.job == nil else { return true }
        guard !news.isStopping else {
            inbox.end()
            return false
        }
        inbox.sleep()
        return true
    }

    private func cancelAll() {
        while let sequence = waiting.next {
            waiting.removeNext()
            running.append(sequence)
        }
        for sequence in running { sequence.finish(.cancelled) }
    }

    /// Lets go of what nobody waits for, and of what is finished.
    private func leave() {
        waiting.removeAll { $0.submission.isCancelled }
        running.removeAll { sequence in
            guard sequence.isFinished || sequence.submission.isCancelled else { return false }
            waiting.release(sequence)
            if let start = sequence.start {
                let seconds = (ContinuousClock().now - start).seconds
                meanSeconds = meanSeconds == 0 ? seconds : 0.9 * meanSeconds + 0.1 * seconds
            }
            return true
        }
    }

    // MARK: Memory

    /// Fills the batch, as far as there is memory for the tokens that there are.
    private func admit() {
        while running.count < options.runningLimit, let sequence = waiting.next {
            let tokens = sequence.tokens
            // The last token runs again in any case: its logits are not kept.
            let prefix =
                sequence.needsPromptLogits
                ? []
                : prefixes.pages(
                    of: tokens, adapter: sequence.adapterKey, atMost: tokens.count - 1)
            let needed = sequence.cache.pagesNeeded(for: tokens.count) - prefix.count
            // A page more than it needs for each that runs, so that they are not set back at once.
            guard makeRoom(needed + running.count) else { return }
            waiting.removeNext()
            if sequence.start == nil {
                statistics.prefixQueries += tokens.count
                statistics.prefixHits += prefix.count * KVPool.positions
                statistics.promptTokens += tokens.count
            }
            sequence.begin(with: prefix)
            running.append(sequence)
        }
    }

    /// Lets kept prefixes go until there are so many free pages; returns whether there are.
    private func makeRoom(_ pages: Int) -> Bool {
        while pool.freeCount < pages {
            guard prefixes.evict() else { return false }
        }
        return true
    }

    /// Makes room for a token more of every answer; those that began last are set back where there is none.
    private func growAnswers() {
        while true {
            let needed = running.reduce(0) { $0 + $1.cache.pagesNeeded(for: $1.pendingCount) }
            if makeRoom(needed) { return }
            // A single one always fits: the pool holds the longest there may be.
            let last = running.removeLast()
            last.setBack()
            waiting.putBack(last)
            statistics.preemptions += 1
        }
    }

    // MARK: A step

    /// One pass over the next tokens, and the choice of those that follow.
    private func runBatch() {
        growAnswers()
        var room = options.prefillTokens
        let batch: [(sequence: EngineSequence, input: InferencePass.Input)] = running.compactMap {
            let isAnswer = $0.pendingCount == 1
            guard isAnswer || room > 0, !$0.isFinished else { return nil }
            let input = $0.input(atMost: isAnswer ? 1 : room)
            if !isAnswer { room -= input.tokens.count }
            return (sequence: $0, input: input)
        }
        guard !batch.isEmpty else { return }
        statistics.steps += 1
        do {
            let starts = batch.map(\.sequence.cache.count)
            let logits = try pass.forward(batch.map(\.input)) { input, token, logits in
                batch[input].sequence.read(logits, after: starts[input] + token)
            }
            advance(batch.map(\.sequence), counts: batch.map(\.input.tokens.count), logits)
        } catch let error as LorikeetError {
            for (sequence, _) in batch { sequence.fail(error) }
        } catch {
            preconditionFailure("\(error)")
        }
    }

    /// Keeps the pages that are full now, and goes on with the answers whose last token has run.
    private func advance(
        _ batch: [EngineSequence], counts: [Int], _ logits: UnsafeBufferPointer<Float>
    ) {
        for sequence in batch {
            guard let pages = sequence.newlyFullPages() else { continue }
            prefixes.keep(pages, of: sequence.tokens, adapter: sequence.adapterKey)
        }
        for sequence in batch { sequence.finishIfComplete() }
        let ready = batch.indices.filter { batch[$0].pendingCount == 0 && !batch[$0].isFinished }
        let V = model.model.configuration.vocabularySize
        var choices = [Sampler.Choice?](repeating: nil, count: ready.count)
        choices.withUnsafeMutableBufferPointer { choices in
            model.compute.pool.run(pieces: ready.count) { _, i in
                let row = logits[ready[i] * V..<(ready[i] + 1) * V]
                choices[i] = batch[ready[i]].choose(from: UnsafeBufferPointer(rebasing: row))
            }
        }
        for (i, choice) in zip(ready, choices) {
            guard let choice else { continue }
            batch[i].take(choice)
            statistics.generatedTokens += 1
        }
        for (i, sequence) in batch.enumerated() {
            let isAnswer = counts[i] == 1
            waiting.charge(
                sequence, promptTokens: isAnswer ? 0 : counts[i], chosenTokens: isAnswer ? 1 : 0)
        }
    }

    private func publish() {
        statistics.running = running.count
        statistics.waiting = waiting.count
        statistics.runningByAdapter = Dictionary(grouping: running, by: \.adapterKey)
            .mapValues(\.count)
        statistics.waitingByAdapter = waiting.counts
        if let limit = pool.limit {
            statistics.cacheUsage = Double(pool.usedCount) / Double(limit)
        }
        inbox.publish(
            statistics, secondsPerRequest: meanSeconds / Double(options.runningLimit))
    }
}
