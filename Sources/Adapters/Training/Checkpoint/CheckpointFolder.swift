import Foundation
import LorikeetRuntime

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// The checkpoints of a run, `step-000040` and so on, in a folder beside its output.
///
/// A checkpoint appears whole or not at all, and before older ones go. One run at a time works in the
/// folder, which goes with the run unless a checkpoint is left in it.
public final class CheckpointFolder {
    /// When a run saves, and what it begins with.
    public struct Options: Sendable {
        /// Steps from one checkpoint to the next.
        public var interval: Int
        /// How many are kept.
        public var count = 2
        /// Whether the run goes on from the newest checkpoint.
        public var resumes = false

        /// A checkpoint at every `interval`-th step.
        public init(every interval: Int) { self.interval = interval }
    }

    /// The folder.
    public let path: String
    private let options: Options
    private let identity: RunIdentity
    /// Holds the lock that keeps other runs out.
    private let descriptor: Int32

    /// Opens or creates the folder at `path` for the run that is `identity`.
    ///
    /// - Parameters:
    ///   - path: the folder.
    ///   - options: when to save, and whether to go on.
    ///   - identity: what the checkpoints belong to.
    ///   - replace: whether a run that does not resume removes the checkpoints of an earlier one.
    /// - Throws: `.exists` for checkpoints that are neither to be resumed nor replaced, or when another run
    ///   works in the folder; `.io`.
    public init(_ path: String, options: Options, identity: RunIdentity, replace: Bool) throws {
        precondition(
            options.interval > 0 && options.count > 0,
            "every \(options.interval) steps, \(options.count) kept")
        do {
            try FileManager.default.createDirectory(
                atPath: path, withIntermediateDirectories: true)
        } catch {
            throw LorikeetError(
                .io, path, "cannot create the folder: \(error.localizedDescription)")
        }
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw LorikeetError(.io, path, "cannot open: \(String(cString: strerror(errno)))")
        }
        // The system lets go of the lock however the process ends. Where it knows none, there is none.
        if flock(descriptor, LOCK_EX | LOCK_NB) != 0, errno == EWOULDBLOCK {
            close(descriptor)
            throw LorikeetError(
                .exists, path, "another run is writing its checkpoints here",
                advice: "Wait for it, or name another output.")
        }
        self.path = path
        self.options = options
        self.identity = identity
        self.descriptor = descriptor

        remnants.forEach(remove)
        if !options.resumes, let newest = steps.last {
            guard replace else {
                throw LorikeetError(
                    .exists, path,
                    "it holds the checkpoints of a run, the last after step \(newest)",
                    advice: "Pass --resume to go on with it, or --force to begin anew.")
            }
            removeCheckpoints()
        }
    }

    deinit {
        // Refused where a checkpoint is left.
        rmdir(path)
        close(descriptor)
    }

    // MARK: Names

    /// Where the checkpoint after `step` lies.
    public func place(of step: Int) -> String { "\(path)/\(Self.name(step))" }

    private static func name(_ step: Int) -> String { String(format: "step-%06ld", step) }

    /// The step that a checkpoint is called after; nil for other names.
    private static func step(_ name: String) -> Int? {
        Int(name.dropFirst(5)).flatMap { $0 > 0 && self.name($0) == name ? $0 : nil }
    }

    private var names: [String] {
        (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
    }

    private var steps: [Int] { names.compactMap { Self.step($0) }.sorted() }

    /// What a killed run left half-written or half-removed: `step-000040.partial-17`.
    private var remnants: [String] { names.filter { $0.hasPrefix("step-") && $0.contains(".") } }

    private func remove(_ name: String) {
        // Renamed first: what is half removed must not look like a checkpoint.
        let removed = "\(path)/\(name).removed"
        rename("\(path)/\(name)", removed)
        try? FileManager.default.removeItem(atPath: removed)
    }

    /// Removes all checkpoints: the run has ended, or begins anew.
    public func removeCheckpoints() {
        for step in steps { remove(Self.name(step)) }
    }

    // MARK: Saving

    /// Whether a checkpoint is due after the step with this number, from 1.
    func isDue(after step: Int) -> Bool { step.isMultiple(of: options.interval) }

    /// Writes a checkpoint, then removes all but the newest.
    ///
    /// - Throws: `.io` (a full disk); the checkpoints that were there are as they were.
    func save(_ state: TrainingState, metrics: [UInt8]) throws {
        let step = state.summary.steps
        try AtomicOutput.folder(at: place(of: step), replace: true) {
            try TrainingCheckpoint.write(state, metrics: metrics, of: identity, into: $0)
        }
        // What lies beyond this step was damaged when the run was taken up before it.
        let kept = steps.filter { $0 <= step }.suffix(options.count)
        for other in steps where !kept.contains(other) { remove(Self.name(other)) }
    }

    // MARK: Resuming

    /// Takes `state` to the newest intact checkpoint, if the run resumes and there is one.
    ///
    /// - Parameters:
    ///   - state: the run at its beginning; of no use when this throws.
    ///   - totalSteps: steps of the whole run.
    ///   - note: told in a line of every damaged checkpoint, and where the run goes on.
    /// - Returns: the metrics so far; nil for a run that begins.
    /// - Throws: `.mismatch` for a checkpoint of another run, naming the flag; `.malformed` when all are
    ///   damaged.
    public func restore(
        _ state: inout TrainingState, totalSteps: Int, note: (String) -> Void = { _ in }
    ) throws -> [UInt8]? {
        let steps = steps
        guard options.resumes, !steps.isEmpty else { return nil }
        for step in steps.reversed() {
            do {
                let checkpoint = try TrainingCheckpoint(place(of: step))
                try identity.require(checkpoint.identity, at: place(of: step))
                guard checkpoint.summary.steps == step, step <= totalSteps else {
                    throw LorikeetError(
                        .malformed, place(of: step), "it was written after another step",
                        expected: "\(step) of \(totalSteps)", got: "\(checkpoint.summary.steps)")
                }
                try checkpoint.restore(&state)
                note("\(place(of: step)): the run goes on after step \(step) of \(totalSteps)")
                return checkpoint.metrics
            } catch let error as LorikeetError
                where error.code == .malformed || error.code == .notFound
            {
                note("a damaged checkpoint is passed over: \(error)")
            }
        }
        throw LorikeetError(
            .malformed, path, "none of its \(steps.count) checkpoints is intact",
            advice: "Pass --force without --resume to begin anew.")
    }
}
