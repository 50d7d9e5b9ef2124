import LorikeetRuntime
import Synchronization

extension AdapterRegistry {
    /// The blend of `parts`: Σ scale · term.
    ///
    /// One adapter at scale 1 is the adapter itself. The order of parts does not matter; an adapter that
    /// occurs twice has the sum of its scales.
    ///
    /// - Returns: the blend to hold while the request is in flight; the same blend is made once.
    /// - Throws: `.invalidArgument` for no parts, too many, a scale that is not finite, or none but 0;
    ///   `.unsupported` for a DoRA adapter beside others or scaled; what the lookup of one throws.
    public func acquire(_ parts: [BlendPart]) throws -> Served {
        switch try find(parts) {
        case .ready(let served): served
        case .pending(let load): try load.wait()
        }
    }

    /// The same, suspending the task instead of the thread.
    public func acquire(_ parts: [BlendPart]) async throws -> Served {
        switch try find(parts) {
        case .ready(let served): served
        case .pending(let load): try await load.get()
        }
    }

    private func find(_ parts: [BlendPart]) throws -> Found {
        let blend = try Blend(parts, most: options.maximumBlendParts) { reference in
            try state.withLock { try $0.version(reference) }
        }
        if let single = blend.single { return try find(single) }
        let key = blend.key
        let load = SharedLoad<Served>()
        let known: Found? = state.withLock { state in
            for part in blend.parts { state.entries[part.name]?.uses += 1 }
            if let served = state.use(key) { return .ready(served) }
            if let load = state.pending[key] { return .pending(load) }
            state.pending[key] = load
            return nil
        }
        if let known { return known }
        enqueueBlend { [self] in
            let result = Result { try make(blend, key: key) }
            state.withLock { $0.pending[key] = nil }
            makeRoom()
            load.finish(result)
        }
        return .pending(load)
    }

    private func make(_ blend: Blend, key: String) throws -> Served {
        let parts = try blend.parts.map { part in
            let served =
                switch try find(part.reference, isUse: false) {
                case .ready(let served): served
                case .pending(let load): try load.wait()
                }
            guard let adapter = served.adapter else { preconditionFailure("a blend of blends") }
            return (adapter: adapter, weight: part.scale)
        }
        let served = try serve(DeltaSum(parts), key: key)
        return state.withLock { $0.keep(served) }
    }
}

/// A blend by its contents: each once, in the order of the digests.
private struct Blend {
    struct Part {
        var name: String
        var digest: String
        var scale: Float

        /// The version that the name had when the blend was asked for.
        var reference: AdapterReference { AdapterReference(name: name, pin: digest) }
    }

    private(set) var parts: [Part] = []

    init(
        _ wanted: [BlendPart], most: Int, version: (AdapterReference) throws -> AdapterVersion
    ) throws {
        guard (1...most).contains(wanted.count) else {
            throw LorikeetError(
                .invalidArgument, "adapters", "a blend of \(wanted.count)",
                expected: "1 to \(most) adapters")
        }
        for part in wanted {
            guard part.scale.isFinite else {
                throw LorikeetError(
                    .invalidArgument, part.adapter.name, "its scale in the blend",
                    expected: "a finite number", got: "\(part.scale)")
            }
            let digest = try version(part.adapter).digest
            if let index = parts.firstIndex(where: { $0.digest == digest }) {
                parts[index].scale += part.scale
            } else {
                parts.append(Part(name: part.adapter.name, digest: digest, scale: part.scale))
            }
        }
        parts.removeAll { $0.scale == 0 }
        parts.sort { $0.digest < $1.digest }
        guard !parts.isEmpty, parts.allSatisfy(\.scale.isFinite) else {
            throw LorikeetError(
                .invalidArgument, "adapters", "the scales of the blend",
                expected: "finite numbers, one other than 0",
                advice: "Ask for the base itself to have no adapter.")
        }
    }

    /// The adapter that the blend is nothing but.
    var single: AdapterReference? {
        parts.count == 1 && parts[0].scale == 1 ? parts[0].reference : nil
    }

    /// SHA-256 of `lorikeet blend 1` and a line of each part's digest and scale's bits.
    var key: String {
        let lines = parts.map { "\($0.digest) \($0.scale.bitPattern)\n" }
        return Digest.sha256(Array(("lorikeet blend 1\n" + lines.joined()).utf8))
    }
}
