import LorikeetQuant

/// The rotated keys and the values of one sequence, of every block.
///
/// Memory grows with the sequence, by doubling, up to the stated capacity.
public final class KVCache: @unchecked Sendable {
    // Unchecked: a cache belongs to one sequence, and one pass at a time writes to it.

    /// The longest sequence it may hold.
    public let capacity: Int
    /// How many positions it holds.
    public private(set) var count = 0

    /// How many positions it has memory for.
    package private(set) var reserved = 0
    private let width: Int
    // One a block: [reserved, keyValueHeads · headSize]
    private var keys: [Buffer<Float>]
    private var values: [Buffer<Float>]

    /// An empty cache for a sequence of at most `capacity` tokens (the model's own limit by default).
    public init(_ configuration: ModelConfiguration, capacity: Int? = nil) {
        self.capacity = capacity ?? configuration.maximumPositions
        width = configuration.keyValueHeadCount * configuration.headSize
        keys = (0..<configuration.layerCount).map { _ in Buffer(0) }
        values = keys.map { _ in Buffer(0) }
    }

    /// Bytes held now.
    public var memory: Int { 2 * keys.count * reserved * width * MemoryLayout<Float>.stride }

    /// Forgets what follows the first `count` positions.
    public func truncate(to count: Int) {
        precondition(count >= 0 && count <= self.count, "\(count) of \(self.count) positions")
        self.count = count
    }

    /// Makes room for `additional` positions.
    package func reserve(_ additional: Int) {
        let needed = count + additional
        precondition(needed <= capacity, "\(needed) positions in a cache of \(capacity)")
        guard needed > reserved else { return }
        let grown = min(max(needed, 2 * reserved, 64), capacity)
        for layer in keys.indices {
            keys[layer] = copy(keys[layer], positions: grown)
            values[layer] = copy(values[layer], positions: grown)
        }
        reserved = grown
    }

    /// Writes keys and values [count, keyValueHeads · headSize] behind what is there; `advance`
    /// makes them count, once every block has written its own.
    package func write(
        layer: Int, keys: UnsafePointer<Float>, values: UnsafePointer<Float>, count: Int
    ) {
        precondition(self.count + count <= reserved, "a cache written past its room")
        let offset = self.count * width
        (self.keys[layer].pointer + offset).update(from: keys, count: count * width)
        (self.values[layer].pointer + offset).update(from: values, count: count * width)
    }

    /// Counts `additional` positions in.
    package func advance(by additional: Int) { count += additional }

    /// The keys of a block [reserved, keyValueHeads · headSize]; valid until the next `reserve`.
    package func keys(layer: Int) -> UnsafePointer<Float> { UnsafePointer(keys[layer].pointer) }

    /// The values of a block, likewise.
    package func values(layer: Int) -> UnsafePointer<Float> { UnsafePointer(values[layer].pointer) }

    private func copy(_ old: Buffer<Float>, positions: Int) -> Buffer<Float> {
        let new = Buffer<Float>(positions * width)
        new.pointer.update(from: old.pointer, count: count * width)
        return new
    }
}
