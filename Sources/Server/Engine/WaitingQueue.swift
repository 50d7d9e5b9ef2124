import OrderedCollections

/// Requests that wait for a place in the batch, a lane for each adapter; the lane that was served least is next.
///
/// Service is counted in tokens, a chosen one twice as dear as one of a prompt, and never lost by waiting: who
/// comes back after a pause begins with the least count of those who wait, not with its own old one. So none
/// starves, whatever the others send.
///
/// Source: Sheng and others, "Fairness in Serving Large Language Models" (2024), algorithm 2.
struct WaitingQueue {
    private struct Lane {
        var sequences: [EngineSequence] = []
        var served = 0
        var running = 0

        var isIdle: Bool { sequences.isEmpty && running == 0 }
    }

    // By adapter key.
    private var lanes: OrderedDictionary<String, Lane> = [:]
    // The count of the lane that was served last: where a lane begins when no other waits.
    private var level = 0

    /// How many wait.
    private(set) var count = 0

    /// How many wait, by adapter key.
    var counts: [String: Int] {
        Dictionary(
            uniqueKeysWithValues: lanes.lazy.filter { !$1.sequences.isEmpty }
                .map { ($0, $1.sequences.count) })
    }

    /// Adds a request at the end of its lane.
    mutating func append(_ sequence: EngineSequence) {
        insert(sequence) { $0.append(sequence) }
    }

    /// Puts back one that ran, before the others of its lane.
    mutating func putBack(_ sequence: EngineSequence) {
        insert(sequence) { $0.insert(sequence, at: 0) }
        lanes[sequence.adapterKey]?.running -= 1
    }

    private mutating func insert(
        _ sequence: EngineSequence, _ change: (inout [EngineSequence]) -> Void
    ) {
        let key = sequence.adapterKey
        var lane = lanes[key] ?? Lane()
        if lane.sequences.isEmpty {
            let others = lanes.values.lazy.filter { !$0.sequences.isEmpty }.map(\.served).min()
            lane.served = max(lane.served, others ?? level)
        }
        change(&lane.sequences)
        lanes[key] = lane
        count += 1
    }

    /// The request that is next.
    var next: EngineSequence? { nextLane.flatMap { lanes[$0]?.sequences.first } }

    /// Takes the request that is next out: it runs from now on.
    mutating func removeNext() {
        guard let key = nextLane else { preconditionFailure("nobody waits") }
        lanes[key]?.sequences.removeFirst()
        lanes[key]?.running += 1
        level = lanes[key]?.served ?? level
        count -= 1
    }

    private var nextLane: String? {
        lanes.lazy.filter { !$1.sequences.isEmpty }.min { $0.value.served < $1.value.served }?.key
    }

    /// Counts service of a request that runs.
    mutating func charge(_ sequence: EngineSequence, promptTokens: Int, chosenTokens: Int) {
        lanes[sequence.adapterKey]?.served += promptTokens + 2 * chosenTokens
    }

    /// Notes that a request does not run any more.
    mutating func release(_ sequence: EngineSequence) {
        let key = sequence.adapterKey
        lanes[key]?.running -= 1
        if lanes[key]?.isIdle == true { lanes[key] = nil }
    }

    /// Takes out the requests that `isOver` says.
    mutating func removeAll(where isOver: (EngineSequence) -> Bool) {
        for (key, lane) in lanes {
            let left = lane.sequences.filter { !isOver($0) }
            guard left.count < lane.sequences.count else { continue }
            count -= lane.sequences.count - left.count
            lanes[key]?.sequences = left
            if lanes[key]?.isIdle == true { lanes[key] = nil }
        }
    }
}
