import Foundation
import LorikeetRuntime

/// What a registry knows, every access to which is under its lock: nothing here takes long.
///
/// Names lead to versions, which are contents by their digests; contents in memory are listed once,
/// whatever they are called.
struct RegistryState<Prepared: Sendable> {
    typealias Served = ServedAdapter<Prepared>

    /// What a name has and had.
    struct Entry {
        /// The current one first.
        var versions: [AdapterVersion] = []
        /// The tickets of loads that are on.
        var loading: Set<Int> = []
        /// The ticket of the current version.
        var installed = 0
        /// Why the last load failed.
        var failure: String?
        /// Whether the name is shown even while it has no version.
        var isListed = false
        var loads = 0
        var evictions = 0
        var uses = 0
    }

    /// A content in memory.
    struct Resident {
        var served: Served
        var lastUse: Int
    }

    /// A content that is in memory only as long as a request has it.
    struct Retired {
        weak var served: Served?
    }

    let options: AdapterRegistryOptions
    var entries: [String: Entry] = [:]
    private(set) var residents: [String: Resident] = [:]
    private(set) var retired: [String: Retired] = [:]
    /// Loads on demand that are on, by key.
    var pending: [String: SharedLoad<Served>] = [:]
    /// Bundles of the cache folder from which contents of PEFT folders are loaded again, by digest.
    private(set) var packed: [String: String] = [:]
    /// Digests that are being packed.
    private var packing: Set<String> = []
    /// Digests that could not be packed: they are loaded from their folders again.
    private var unpackable: Set<String> = []
    /// Files of the cache folder that nobody needs any more.
    var obsolete: [String] = []
    /// What was let go of: its memory is given back once the lock is open again, for that takes long.
    var released: [Served] = []
    private(set) var memory = 0
    /// How many loads have begun.
    var tickets = 0
    private var clock = 0

    init(options: AdapterRegistryOptions) { self.options = options }

    // MARK: Contents in memory

    /// The content of `key`, if it is in memory, as the one used last.
    mutating func use(_ key: String) -> Served? {
        clock += 1
        if let index = residents.index(forKey: key) {
            residents.values[index].lastUse = clock
            return residents.values[index].served
        }
        guard let served = retired.removeValue(forKey: key)?.served else { return nil }
        insert(served)
        return served
    }

    /// Keeps `served`, or what is there of the same content.
    mutating func keep(_ served: Served) -> Served {
        if let known = use(served.key) { return known }
        insert(served)
        return served
    }

    private mutating func insert(_ served: Served) {
        residents[served.key] = Resident(served: served, lastUse: clock)
        memory += served.memory
    }

    /// Lets go of the content of `key`, which lives on with its users.
    private mutating func release(_ key: String) {
        guard let resident = residents.removeValue(forKey: key) else { return }
        memory -= resident.served.memory
        retired = retired.filter { $0.value.served != nil }
        retired[key] = Retired(served: resident.served)
        released.append(resident.served)
    }

    /// Lets go of contents that nobody uses until the rest fits, and of blends past their number.
    ///
    /// - Returns: the digests that have to be packed before they can go.
    mutating func makeRoom() -> [String] {
        for key in blends().dropLast(options.maximumBlends) { release(key) }
        guard let limit = options.maximumMemory, memory > limit else { return [] }
        var toPack: [String] = []
        // What is being packed goes as soon as that is done.
        var excess = memory - limit
        for key in packing { excess -= residents[key]?.served.memory ?? 0 }
        for key in byLastUse() where excess > 0 && !packing.contains(key) {
            guard let index = residents.index(forKey: key),
                isKnownUniquelyReferenced(&residents.values[index].served)
            else { continue }
            excess -= residents.values[index].served.memory
            if needsPacking(key) {
                packing.insert(key)
                toPack.append(key)
            } else {
                release(key)
                for name in entries.keys where entries[name]?.isCurrent(key) == true {
                    entries[name]?.evictions += 1
                }
            }
        }
        return toPack
    }

    // Keys, the least recently used first. They alone: a copied reference would count as a use.
    private func byLastUse() -> [String] {
        residents.sorted { $0.value.lastUse < $1.value.lastUse }.map(\.key)
    }

    private func blends() -> [String] {
        byLastUse().filter { residents[$0]?.served.adapter == nil }
    }

    private func needsPacking(_ digest: String) -> Bool {
        guard options.cacheFolder != nil, packed[digest] == nil, !unpackable.contains(digest) else {
            return false
        }
        let versions = entries.values.flatMap(\.versions).filter { $0.digest == digest }
        return !versions.isEmpty && versions.allSatisfy(\.isFolder)
    }

    /// Counts a packing out; `path` is nil for one that failed.
    mutating func finishPacking(_ digest: String, at path: String?) {
        packing.remove(digest)
        guard let path else {
            // One that went meanwhile has not failed.
            if residents[digest] != nil { unpackable.insert(digest) }
            return
        }
        if isKnown(digest) { packed[digest] = path } else { obsolete.append(path) }
    }

    // MARK: Names

    /// Makes `version` the current one of `name`, unless a load that began later was faster.
    ///
    /// - Returns: what requests get from now on.
    /// - Throws: `.notFound` when the name was given up meanwhile.
    mutating func install(
        _ version: AdapterVersion, _ served: Served, as name: String, ticket: Int
    ) throws -> Served {
        guard var entry = entries[name], entry.loading.remove(ticket) != nil else {
            throw LorikeetError(.notFound, name, "was unloaded while it was being loaded")
        }
        entry.loads += 1
        let isLatest = ticket > entry.installed
        let old = entry.versions
        entry.versions.removeAll { $0.digest == version.digest }
        entry.versions.insert(version, at: isLatest ? 0 : min(1, entry.versions.count))
        entry.versions = Array(entry.versions.prefix(max(1, options.keptVersions)))
        if isLatest {
            entry.installed = ticket
            entry.failure = nil
        }
        entries[name] = entry
        for version in old { retire(version.digest) }
        return isLatest ? keep(served) : use(served.key) ?? served
    }

    /// Gives up `name`; its contents live on with their users.
    mutating func remove(_ name: String) {
        for version in entries.removeValue(forKey: name)?.versions ?? [] { retire(version.digest) }
    }

    /// Lets go of a content that is no name's current one, and of its file in the cache when it is no name's
    /// at all.
    private mutating func retire(_ digest: String) {
        guard !entries.values.contains(where: { $0.isCurrent(digest) }) else { return }
        release(digest)
        guard !isKnown(digest) else { return }
        unpackable.remove(digest)
        if let path = packed.removeValue(forKey: digest) { obsolete.append(path) }
    }

    /// Whether some name has or had the content of `digest`.
    func isKnown(_ digest: String) -> Bool {
        entries.values.contains { $0.versions.contains { $0.digest == digest } }
    }
}

extension RegistryState.Entry {
    /// Whether the content of `digest` is what the name means now.
    func isCurrent(_ digest: String) -> Bool { versions.first?.digest == digest }
}
