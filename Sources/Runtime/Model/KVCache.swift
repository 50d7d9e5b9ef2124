public import LorikeetQuant
package import QuantKernels

/// The rotated keys and the values of one sequence, of every block.
///
/// Halves, in the order in which attention streams them, or floats where the precision is fp32. Memory
/// grows with the sequence, by doubling, up to the stated capacity.
public final class KVCache: @unchecked Sendable {
    // Unchecked: a cache belongs to one sequence, and one pass at a time writes to it.

    /// The longest sequence it may hold.
    public let capacity: Int
    /// How many positions it holds.
    public private(set) var count = 0

    /// How many positions it has memory for.
    package private(set) var reserved = 0
    private let heads: Int
    private let headSize: Int
    private var storage: Storage

    // One buffer a block.
    private enum Storage {
        // [reserved, heads · headSize]
        case floats(keys: [Buffer<Float>], values: [Buffer<Float>])
        // As `quant_kv` has them.
        case halves(keys: [Buffer<UInt16>], values: [Buffer<UInt16>])
    }

    /// An empty cache for a sequence of at most `capacity` tokens (the model's own limit by default).
    public init(
        _ configuration: ModelConfiguration, capacity: Int? = nil, precision: Precision
    ) {
        self.capacity = capacity ?? configuration.maximumPositions
        heads = configuration.keyValueHeadCount
        headSize = configuration.headSize
        let layers = 0..<configuration.layerCount
        // What the half-precision kernels take; other heads are rare, and right in floats.
        let fits = headSize % 8 == 0 && headSize <= Int(QUANT_ATTEND_HEAD)
        if precision == .fp32 || !fits {
            storage = .floats(
                keys: layers.map { _ in Buffer(0) }, values: layers.map { _ in Buffer(0) })
        } else {
            storage = .halves(
                keys: layers.map { _ in Buffer(0) }, values: layers.map { _ in Buffer(0) })
        }
    }

    private var width: Int { heads * headSize }

    /// Bytes held now.
    public var memory: Int { memory(positions: reserved) }

    /// Bytes of so many positions.
    func memory(positions: Int) -> Int {
        switch storage {
        case .floats(let keys, _): 2 * keys.count * positions * width * MemoryLayout<Float>.stride
        case .halves(let keys, _): 2 * keys.count * positions * width * MemoryLayout<UInt16>.stride
        }
    }

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
        // Keys lie in whole blocks of positions.
        let block = Int(QUANT_KV_BLOCK)
        let rounded = (grown + block - 1) / block * block
        switch storage {
        case .floats(let keys, let values):
            storage = .floats(
                keys: keys.map { $0.grown(to: grown * width, keeping: count * width) },
                values: values.map { $0.grown(to: grown * width, keeping: count * width) })
        case .halves(let keys, let values):
            let kept = (count + block - 1) / block * block
            storage = .halves(
                keys: keys.map { $0.grown(to: rounded * width, keeping: kept * width) },
                values: values.map { $0.grown(to: grown * width, keeping: count * width) })
        }
        reserved = grown
    }

    /// Writes keys and values [count, keyValueHeads · headSize] behind what is there; `advance`
    /// makes them count, once every block has written its own.
    package func write(
        layer: Int, keys newKeys: UnsafePointer<Float>, values newValues: UnsafePointer<Float>,
        count: Int, on compute: Compute
    ) {
        precondition(self.count + count <= reserved, "a cache written past its room")
        switch storage {
        case .floats(let keys, let values):
            let offset = self.count * width
            (keys[layer].pointer + offset).update(from: newKeys, count: count * width)
            (values[layer].pointer + offset).update(from: newValues, count: count * width)
        case .halves:
            guard var kv = halves(layer: layer) else { return }
            compute.kernels.kv_write(&kv, newKeys, width, newValues, width, self.count, count)
        }
    }

    /// Counts `additional` positions in.
    package func advance(by additional: Int) { count += additional }

    /// A block's keys and values [reserved, keyValueHeads · headSize] as floats, nil where they are
    /// halves; valid until the next `reserve`.
    package func floats(layer: Int) -> (keys: UnsafePointer<Float>, values: UnsafePointer<Float>)? {
        guard case .floats(let keys, let values) = storage else { return nil }
        return (UnsafePointer(keys[layer].pointer), UnsafePointer(values[layer].pointer))
    }

    /// A block's keys and values as halves, nil where they are floats; valid until the next `reserve`.
    package func halves(layer: Int) -> quant_kv? {
        guard case .halves(let keys, let values) = storage else { return nil }
        return quant_kv(
            keys: keys[layer].pointer, values: values[layer].pointer, kv_heads: heads,
            head_size: headSize)
    }
}

extension Buffer {
    fileprivate func grown(to count: Int, keeping kept: Int) -> Buffer {
        let new = Buffer(count)
        new.pointer.update(from: pointer, count: kept)
        return new
    }
}
