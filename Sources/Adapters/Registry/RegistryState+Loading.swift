import LorikeetRuntime

extension RegistryState {
    /// Counts a load of `name` in.
    ///
    /// - Returns: its ticket; a later load has a greater one.
    /// - Throws: `.exists` for a name that has a version or is about to, unless `replace`.
    mutating func begin(_ name: String, replace: Bool) throws -> Int {
        var entry = entries[name] ?? Entry()
        guard replace || (entry.versions.isEmpty && entry.loading.isEmpty) else {
            throw LorikeetError(
                .exists, name,
                entry.versions.isEmpty
                    ? "an adapter of that name is being loaded"
                    : "an adapter of that name is loaded",
                got: entry.versions.first?.digest,
                advice: "Replace it explicitly, unload it, or take another name.")
        }
        tickets += 1
        entry.loading.insert(tickets)
        entries[name] = entry
        return tickets
    }

    /// Counts a load out that failed; the version before stays.
    mutating func fail(_ name: String, _ error: any Error, ticket: Int, isListed: Bool) {
        guard var entry = entries[name], entry.loading.remove(ticket) != nil else { return }
        if ticket > entry.installed { entry.failure = "\(error)" }
        let isEmpty = entry.versions.isEmpty && entry.loading.isEmpty
        entries[name] = isEmpty && !isListed && !entry.isListed ? nil : entry
        if isListed { entries[name]?.isListed = true }
    }

    /// The names that have a version, sorted.
    var names: [String] { entries.filter { !$0.value.versions.isEmpty }.keys.sorted() }

    /// The version that `reference` means.
    ///
    /// - Throws: `.notFound`, with what there is.
    func version(_ reference: AdapterReference) throws -> AdapterVersion {
        let versions = entries[reference.name]?.versions ?? []
        let version =
            reference.pin.map { pin in versions.first { $0.digest.hasPrefix(pin) } }
            ?? versions.first
        guard let version else { throw missing(reference) }
        return version
    }

    /// What a lookup finds.
    enum Lookup {
        case ready(Served)
        case pending(SharedLoad<Served>)
        /// On disk: the caller is to load it from there and give it to all who wait.
        case cold(AdapterVersion, path: String, SharedLoad<Served>)
    }

    /// Finds what `reference` means.
    ///
    /// - Throws: `.notFound`, with what there is.
    mutating func lookUp(_ reference: AdapterReference, isUse: Bool) throws -> Lookup {
        let version = try version(reference)
        if isUse { entries[reference.name]?.uses += 1 }
        if let served = use(version.digest) { return .ready(served) }
        if let load = pending[version.digest] { return .pending(load) }
        let load = SharedLoad<Served>()
        pending[version.digest] = load
        return .cold(version, path: packed[version.digest] ?? version.path, load)
    }

    /// Says that there is no such adapter, and what there is.
    func missing(_ reference: AdapterReference) -> LorikeetError {
        let entry = entries[reference.name]
        if let pin = reference.pin, let versions = entry?.versions, !versions.isEmpty {
            let known = versions.map { "\(reference.name)@\($0.digest.prefix(12))" }
            return LorikeetError(
                .notFound, "\(reference.name)@\(pin)", "no version of that digest is at hand",
                expected: "one of \(known.joined(separator: ", "))")
        }
        let problem =
            if let failure = entry?.failure, entry?.versions.isEmpty == true {
                "the adapter could not be loaded: \(failure)"
            } else if entry?.loading.isEmpty == false {
                "the adapter is still being loaded"
            } else {
                "no adapter of that name is loaded"
            }
        return LorikeetError(
            .notFound, reference.name, problem,
            expected: names.isEmpty ? nil : "one of \(names.joined(separator: ", "))")
    }

    /// What is known of `name`.
    func status(_ name: String) -> AdapterStatus? {
        guard let entry = entries[name] else { return nil }
        let digest = entry.versions.first?.digest
        let state: AdapterStatus.State =
            if let digest, residents[digest] != nil {
                .resident
            } else if !entry.loading.isEmpty || digest.map({ pending[$0] != nil }) == true {
                .loading
            } else {
                entry.failure == nil ? .onDisk : .failed
            }
        return AdapterStatus(
            name: name, state: state, version: entry.versions.first,
            earlier: entry.versions.dropFirst().map(\.digest), failure: entry.failure,
            loads: entry.loads, evictions: entry.evictions, uses: entry.uses)
    }
}

extension RegistryState {
    /// Counts a load on demand out that failed.
    ///
    /// - Returns: what requests are told: an earlier version whose file is gone or changed does not exist any
    ///   more.
    mutating func failReload(
        _ version: AdapterVersion, of name: String, _ error: any Error
    ) -> any Error {
        pending[version.digest] = nil
        guard var entry = entries[name] else { return error }
        if entry.isCurrent(version.digest) {
            entry.failure = "\(error)"
            entries[name] = entry
            return error
        }
        entry.versions.removeAll { $0.digest == version.digest }
        entries[name] = entry
        return missing(AdapterReference(name: name, pin: version.digest))
    }
}
