import Foundation
public import LorikeetRuntime
import Synchronization

/// Keeps a registry in step with a folder: PEFT folders and bundles in it are adapters of their file names.
///
/// What appears is loaded, what changes is loaded in place of the version before, what goes is unloaded,
/// each once it has been the same in two looks: a file that is being copied is not read. A bundle that
/// cannot be loaded is tried again, ever less often, and reported once a change.
///
/// ```swift
/// let watcher = try AdapterFolderWatcher("adapters", registry: registry) { print($0) }
/// let watching = Task { await watcher.run() }
/// ```
public final class AdapterFolderWatcher: Sendable {
    /// What a look led to.
    public enum Event: Sendable {
        /// An adapter was loaded, in place of another version perhaps.
        case loaded(name: String)
        /// An adapter's files are gone, and it was unloaded.
        case unloaded(name: String)
        /// An adapter could not be loaded, or the folder not be read; the version before stays.
        case failed(name: String, LorikeetError)
    }

    private let folder: String
    private let load: @Sendable (_ name: String, _ path: String, _ isOwn: Bool) throws -> Void
    private let unload: @Sendable (_ name: String, _ path: String) throws -> Void
    private let report: @Sendable (Event) -> Void
    private let state = Mutex(State())

    private struct State {
        var adapters: [String: Watched] = [:]
        var failure: LorikeetError?
    }

    /// What is remembered of one name.
    private struct Watched {
        var path: String
        /// As the last look found it; nil when it was gone.
        var seen: FileTraces?
        /// As it was loaded, or found to be bad.
        var handled: FileTraces?
        var isLoaded = false
        /// Looks until a bad one is tried again, and how many those were the last time.
        var wait = 0
        var lastWait = 0
        var reported: FileTraces?
    }

    /// Watches `folder` for `registry`.
    ///
    /// - report: called with what happened.
    /// - Throws: `.notFound` when there is no such folder.
    public init<Prepared: Sendable>(
        _ folder: String, registry: AdapterRegistry<Prepared>,
        report: @escaping @Sendable (Event) -> Void = { _ in }
    ) throws {
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: folder, isDirectory: &isFolder),
            isFolder.boolValue
        else { throw LorikeetError(.notFound, folder, "there is no such folder") }
        self.folder = folder
        self.report = report
        load = { name, path, isOwn in
            // A name that somebody else gave to another adapter stays theirs.
            _ = try registry.load(
                name: name, path: path, replace: isOwn, allowOtherBase: false,
                rememberingFailure: true)
        }
        unload = { try registry.unload(name: $0, path: $1) }
    }

    /// Looks every `period`, until the task is cancelled.
    public func run(every period: Duration = .seconds(1)) async {
        while !Task.isCancelled {
            // On a thread of its own: loads take long.
            await withCheckedContinuation { continuation in
                DispatchQueue.global(qos: .utility).async { [self] in
                    scan()
                    continuation.resume()
                }
            }
            try? await Task.sleep(for: period)
        }
    }

    /// Looks once; one look at a time.
    public func scan() {
        // Nobody but another look waits for this lock.
        state.withLock { state in
            do throws(LorikeetError) {
                let found = try entries()
                state.failure = nil
                for name in Set(found.keys).union(state.adapters.keys).sorted() {
                    state.adapters[name] = look(at: name, found[name], before: state.adapters[name])
                }
            } catch {
                // Everything stays: a disk that is away for a moment must not unload all.
                if state.failure != error { report(.failed(name: folder, error)) }
                state.failure = error
            }
        }
    }

    /// Does what is to be done about one name.
    ///
    /// - Returns: what to remember of it; nil once it is gone.
    private func look(
        at name: String, _ found: (path: String, traces: FileTraces)?, before: Watched?
    ) -> Watched? {
        var watched = before ?? Watched(path: found?.path ?? "")
        if let path = found?.path { watched.path = path }
        let isSettled = before != nil && watched.seen == found?.traces
        watched.seen = found?.traces
        guard isSettled else { return watched }
        guard let traces = found?.traces else {
            // The registry may have been told to forget it, or to take another.
            let isUnloaded = (try? unload(name, watched.path)) != nil
            if isUnloaded, watched.isLoaded { report(.unloaded(name: name)) }
            return nil
        }
        if watched.handled == traces {
            guard watched.lastWait > 0 else { return watched }
            watched.wait -= 1
            guard watched.wait <= 0 else { return watched }
        } else {
            watched.handled = traces
            watched.lastWait = 0
        }
        do {
            try load(name, watched.path, watched.isLoaded)
            watched.isLoaded = true
            watched.lastWait = 0
            report(.loaded(name: name))
        } catch {
            // 1, 2, 4, … looks, at most about a minute of seconds.
            watched.lastWait = min(max(1, 2 * watched.lastWait), 64)
            watched.wait = watched.lastWait
            guard watched.reported != traces else { return watched }
            watched.reported = traces
            let failure = error as? LorikeetError ?? LorikeetError(.io, watched.path, "\(error)")
            report(.failed(name: name, failure))
        }
        return watched
    }

    /// The adapters in the folder, by name; of a bundle and a folder of one name the bundle.
    private func entries() throws(LorikeetError) -> [String: (path: String, traces: FileTraces)] {
        let names: [String]
        do {
            names = try FileManager.default.contentsOfDirectory(atPath: folder)
        } catch {
            throw LorikeetError(.io, folder, "cannot be read: \(error.localizedDescription)")
        }
        var found: [String: (path: String, traces: FileTraces)] = [:]
        // Hidden ones are somebody's temporary files. Folders first.
        let visible = names.filter { !$0.hasPrefix(".") }
        let suffix = "." + AdapterBundle.pathExtension
        for name in visible.filter({ !$0.hasSuffix(suffix) })
            + visible.filter({ $0.hasSuffix(suffix) })
        {
            let path = folder + "/" + name
            guard let traces = FileTraces(adapter: path) else { continue }
            found[Adapters.name(of: path)] = (path, traces)
        }
        return found
    }
}
