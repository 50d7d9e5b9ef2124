import LorikeetQuant
import LorikeetRuntime

/// The engine's thread: takes requests in, and runs them a step at a time.
final class EngineLoop {
    private let model: LanguageModel
    private let options: EngineOptions
    private let inbox: EngineInbox
    private let pass: InferencePass
    private let contextLength: Int

    private var waiting: [EngineSubmission] = []
    private var running: [EngineSequence] = []
    private var statistics = EngineStatistics()

    /// A loop over `model`.
    init(_ model: LanguageModel, options: EngineOptions, inbox: EngineInbox) {
        self.model = model
        self.options = options
        self.inbox = inbox
        pass = InferencePass(model: model.model, compute: model.compute)
        contextLength = min(
            options.contextLength ?? .max, model.model.configuration.maximumPositions)
    }

    /// Runs a step, or waits for something to do; returns false when the engine has ended.
    func step() -> Bool {
        let (incoming, isStopping, isCancelling) = inbox.take()
        waiting += incoming
        if isCancelling {
            for submission in waiting { submission.end() }
            for sequence in running { sequence.finish(.cancelled) }
            (waiting, running) = ([], [])
        }
        leave()
        admit()
        guard !running.isEmpty else {
            publish()
            if isStopping {
                inbox.end()
                return false
            }
            inbox.sleep()
            return true
        }
        runBatch()
        leave()
        publish()
        return true
    }

    /// Lets go of what nobody waits for, and of what is finished.
    private func leave() {
        waiting.removeAll { $0.isCancelled }
        running.removeAll { $0.isFinished || $0.submission.isCancelled }
    }

    /// Fills the batch.
    private func admit() {
        while running.count < options.runningLimit, !waiting.isEmpty {
            let submission = waiting.removeFirst()
            let sequence = EngineSequence(
                submission, model, cache: pass.makeCache(capacity: contextLength),
                contextLength: contextLength)
            sequence.begin(cachedTokens: 0)
            statistics.promptTokens += submission.request.prompt.count
            if !sequence.isFinished { running.append(sequence) }
        }
    }

    /// One pass over the next tokens of all sequences, and the choice of those that follow.
    private func runBatch() {
        statistics.steps += 1
        let groups = Dictionary(grouping: running) { $0.submission.request.adapter?.key ?? "" }
        for group in groups.values {
            do {
                let logits = try pass.forward(
                    group.map { InferencePass.Input(Array($0.pending), after: $0.cache) },
                    adapter: group[0].submission.request.adapter?.deltas)
                choose(group, logits)
            } catch let error as LorikeetError {
                for sequence in group { sequence.fail(error) }
            } catch {
                preconditionFailure("\(error)")
            }
        }
    }

    private func choose(_ sequences: [EngineSequence], _ logits: UnsafeBufferPointer<Float>) {
        let V = model.model.configuration.vocabularySize
        var choices = [Sampler.Choice?](repeating: nil, count: sequences.count)
        choices.withUnsafeMutableBufferPointer { choices in
            model.compute.pool.run(pieces: sequences.count) { _, i in
                choices[i] = sequences[i].choose(
                    from: UnsafeBufferPointer(rebasing: logits[i * V..<(i + 1) * V]))
            }
        }
        for (sequence, choice) in zip(sequences, choices) {
            if let choice { sequence.take(choice) }
        }
        statistics.generatedTokens += sequences.count
    }

    private func publish() {
        statistics.running = running.count
        statistics.waiting = waiting.count
        inbox.publish(statistics, secondsPerRequest: 0)
    }
}
