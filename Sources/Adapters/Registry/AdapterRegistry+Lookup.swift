import Foundation
import LorikeetRuntime
import Synchronization

extension AdapterRegistry {
    /// The adapter that `reference` means, as it is now.
    ///
    /// One that is in memory is there at once; otherwise the thread waits until it has been loaded again,
    /// with all that ask for it meanwhile.
    ///
    /// - Returns: the version to hold while the request is in flight.
    /// - Throws: `.notFound`, with what there is; `.mismatch` for a file that changed since it was loaded, and
    ///   what a load throws.
    public func acquire(_ reference: AdapterReference) throws -> Served {
        switch try find(reference) {
        case .ready(let served): served
        case .pending(let load): try load.wait()
        }
    }

    /// The same, suspending the task instead of the thread.
    public func acquire(_ reference: AdapterReference) async throws -> Served {
        switch try find(reference) {
        case .ready(let served): served
        case .pending(let load): try await load.get()
        }
    }

    /// The adapter of that name as it is now; nil for no name: the base itself.
    ///
    /// - Throws: as `acquire`.
    public func adapter(_ name: String?) throws -> Adapter? {
        try name.map { try acquire(AdapterReference(name: $0)) }?.adapter
    }

    /// What a lookup comes to: there, or on its way.
    enum Found {
        case ready(Served)
        case pending(SharedLoad<Served>)
    }

    /// Finds what `reference` means, and has it loaded if need be.
    ///
    /// - isUse: whether the lookup counts as one; a blend's counts already.
    func find(_ reference: AdapterReference, isUse: Bool = true) throws -> Found {
        switch try state.withLock({ try $0.lookUp(reference, isUse: isUse) }) {
        case .ready(let served): return .ready(served)
        case .pending(let load): return .pending(load)
        case .cold(let version, let path, let load):
            enqueue { [self] in
                load.finish(Result { try reload(version, of: reference.name, from: path) })
            }
            return .pending(load)
        }
    }

    /// Loads a content that was let go of.
    private func reload(
        _ version: AdapterVersion, of name: String, from path: String
    ) throws -> Served {
        let start = ContinuousClock.now
        do {
            let adapter = try base.load(
                path, name: name, allowOtherBase: version.allowsOtherBase,
                trustedKeys: options.trustedKeys, maximumBytes: options.maximumBundleBytes)
            guard adapter.digest == version.digest else {
                throw LorikeetError(
                    .mismatch, path, "the file was changed since the adapter was loaded",
                    expected: version.digest, got: adapter.digest,
                    advice: "Load it again to serve what it holds now.")
            }
            // Not probed: the same content over the same base was.
            let served = try serve(adapter)
            let kept = state.withLock { state in
                state.pending[version.digest] = nil
                state.entries[name]?.loads += 1
                state.entries[name]?.failure = nil
                // Who asked gets it even when the name was given up meanwhile.
                return state.isKnown(version.digest) ? state.keep(served) : served
            }
            makeRoom()
            options.onLoad?(name, .now - start)
            return kept
        } catch {
            throw state.withLock { $0.failReload(version, of: name, error) }
        }
    }

    /// Lets go of what is past the limits, now or as soon as it is packed.
    func makeRoom() {
        for digest in state.withLock({ $0.makeRoom() }) {
            enqueuePacking { [self] in pack(digest) }
        }
        cleanUp()
    }

    /// Packs the adapter of `digest` into the cache folder, after which it can be let go of.
    private func pack(_ digest: String) {
        // The adapter, not what requests get: that would count as a use.
        let adapter = state.withLock { $0.residents[digest]?.served.adapter }
        let path = adapter.flatMap(packed)
        state.withLock { $0.finishPacking(digest, at: path) }
        makeRoom()
    }

    /// Where `adapter` was packed to; nil where that failed.
    private func packed(_ adapter: Adapter) -> String? {
        guard let folder = options.cacheFolder else { return nil }
        let path = "\(folder)/\(adapter.digest).\(AdapterBundle.pathExtension)"
        do {
            try FileManager.default.createDirectory(
                atPath: folder, withIntermediateDirectories: true)
            try AdapterBundle.pack(adapter, to: path, replace: true)
        } catch {
            return nil
        }
        return path
    }

    /// Gives back the memory and the files of the cache folder that nobody needs any more.
    func cleanUp() {
        let (released, files) = state.withLock { state in
            defer { (state.released, state.obsolete) = ([], []) }
            return (state.released, state.obsolete)
        }
        for file in files {
            // In turn with packings, one of which may write it again.
            enqueuePacking { [self] in
                guard !state.withLock({ $0.packed.values.contains(file) }) else { return }
                try? FileManager.default.removeItem(atPath: file)
            }
        }
        withExtendedLifetime(released) {}
    }
}
