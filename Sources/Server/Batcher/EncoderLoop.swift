package import LorikeetRuntime
import OrderedCollections

/// The batcher's thread: takes requests in, and lets a step's share of their texts through the model.
///
/// A step takes a text of each request in turn, so a request with many of them does not keep others waiting; the
/// texts of one adapter go through the model together, without padding.
package final class EncoderLoop {
    private let encoder: TextEncoder
    private let inbox: EncoderInbox
    private let pass: EncoderPass

    // In the order in which they are served next.
    private var waiting: [EncoderWork] = []
    private var statistics = EngineStatistics()

    /// A loop over `encoder`, with so many tokens in a step.
    package init(_ encoder: TextEncoder, passTokens: Int, inbox: EncoderInbox) {
        self.encoder = encoder
        self.inbox = inbox
        pass = EncoderPass(
            model: encoder.model, compute: encoder.compute, maximumTokens: passTokens)
    }

    /// Runs a step, or waits for something to do; returns false when the batcher has ended.
    package func step() -> Bool {
        let news = inbox.take()
        waiting += news.incoming.map(EncoderWork.init)
        if news.isCancelling {
            for work in waiting { work.fail(EngineOverload(reason: .stopping, retryAfter: 5)) }
        }
        leave()
        guard !waiting.isEmpty else {
            publish(running: [])
            guard !news.isStopping else {
                inbox.end()
                return false
            }
            inbox.sleep()
            return true
        }
        runBatch()
        leave()
        return true
    }

    /// Lets go of what is finished, and of what nobody waits for.
    private func leave() {
        for work in waiting where work.submission.isCancelled { work.fail(CancellationError()) }
        waiting.removeAll(where: \.isFinished)
    }

    private func runBatch() {
        let texts = nextTexts()
        let served = Set(texts.map { ObjectIdentifier($0.work) })
        // Those that had no room are first next time.
        let running = waiting.filter { served.contains(ObjectIdentifier($0)) }
        waiting.removeAll { served.contains(ObjectIdentifier($0)) }
        publish(running: running)
        for group in OrderedDictionary(grouping: texts, by: \.work.group).values {
            run(group.filter { !$0.work.submission.isCancelled })
        }
        waiting += running
    }

    /// A text of a request.
    private struct Text {
        let work: EncoderWork
        let index: Int

        var row: TrainingRow { work.submission.request.rows[index] }
    }

    /// A text of each request in turn, as many as a pass has room for.
    private func nextTexts() -> [Text] {
        var (texts, room) = ([Text](), pass.maximumTokens)
        var count = -1
        while texts.count > count {
            count = texts.count
            for work in waiting {
                guard let index = work.next else { continue }
                let text = Text(work: work, index: index)
                guard text.row.inputIDs.count <= room else { return texts }
                room -= text.row.inputIDs.count
                work.begin(index)
                texts.append(text)
            }
        }
        return texts
    }

    /// Lets texts of one adapter through the model.
    private func run(_ texts: [Text]) {
        guard let request = texts.first?.work.submission.request else { return }
        let (rows, deltas) = (texts.map(\.row), request.adapter?.deltas)
        statistics.steps += 1
        statistics.promptTokens += rows.reduce(0) { $0 + $1.inputIDs.count }
        do {
            let outputs =
                switch request.output {
                case .vectors: try encoder.embeddings(of: rows, adapter: deltas, in: pass)
                case .logits: try pass.logits(of: rows, adapter: deltas)
                }
            for (text, output) in zip(texts, outputs) { text.work.take(output, at: text.index) }
        } catch {
            for text in texts { text.work.fail(error) }
        }
    }

    private func publish(running: [EncoderWork]) {
        func counts(_ works: [EncoderWork]) -> [String: Int] {
            Dictionary(grouping: works, by: \.group.adapter).mapValues(\.count)
        }
        (statistics.running, statistics.runningByAdapter) = (running.count, counts(running))
        (statistics.waiting, statistics.waitingByAdapter) = (waiting.count, counts(waiting))
        inbox.publish(statistics)
    }
}

/// A request that waits or runs, and what the model has made of its texts so far.
///
/// The batcher's thread alone uses it.
private final class EncoderWork {
    /// What goes through the model together.
    struct Group: Hashable {
        /// The adapter's key; "" for the base.
        let adapter: String
        let output: EncoderRequest.Output
    }

    let submission: EncoderSubmission
    let group: Group
    private(set) var isFinished = false
    /// The text to run next; nil when all run or have run.
    private(set) var next: Int? = 0
    private var values: [[Float]]
    private var missing: Int
    private var start: ContinuousClock.Instant?

    init(_ submission: EncoderSubmission) {
        let request = submission.request
        self.submission = submission
        group = Group(adapter: request.adapter?.key ?? "", output: request.output)
        missing = request.rows.count
        values = Array(repeating: [], count: missing)
    }

    /// Notes that a text is about to run.
    func begin(_ index: Int) {
        start = start ?? ContinuousClock().now
        next = index + 1 < values.count ? index + 1 : nil
    }

    /// Takes what the model made of a text; the last one finishes the request.
    func take(_ output: [Float], at index: Int) {
        values[index] = output
        missing -= 1
        guard missing == 0 else { return }
        let begin = start ?? submission.arrival
        finish(
            .success(
                EncoderOutputs(
                    values: values, queueSeconds: (begin - submission.arrival).seconds)))
    }

    /// Ends the request with an error.
    func fail(_ error: any Error) { finish(.failure(error)) }

    private func finish(_ result: Result<EncoderOutputs, any Error>) {
        guard !isFinished else { return }
        isFinished = true
        submission.finish(result)
    }
}
