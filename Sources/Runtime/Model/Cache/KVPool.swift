public import LorikeetQuant
import QuantKernels
import Synchronization

/// The memory for keys and values, in pages that sequences take, share and give back.
///
/// A page holds `KVPool.positions` positions of all blocks of the model. It belongs to whoever refers to it: two
/// sequences that begin alike may refer to the same pages, and one that nobody refers to is free again.
public final class KVPool: Sendable {
    /// Positions of a page.
    public static let positions = Int(QUANT_KV_PAGE)

    /// How keys and values lie in a page.
    package let layout: KVLayout
    /// The most pages there may be at a time; nil for any number.
    public let limit: Int?
    private let state = Mutex(State())

    private struct State {
        // Memory nobody refers to.
        var free: [Memory] = []
        var used = 0
        var slab: (memory: Buffer<UInt8>, next: Int)?
    }

    /// A page's memory, and what it is a part of.
    package struct Memory: @unchecked Sendable {
        // Unchecked: who holds it alone writes to it; a page that is shared is not written to.
        let start: UnsafeMutableRawPointer
        let slab: Buffer<UInt8>
    }

    /// An empty pool for a model.
    ///
    /// - Parameters:
    ///   - configuration: the model's.
    ///   - precision: halves, in the order in which attention streams them, or floats for fp32.
    ///   - maximumBytes: what the pages may take together; at least one is allowed. Nil for any number.
    public init(
        _ configuration: ModelConfiguration, precision: Precision, maximumBytes: Int? = nil
    ) {
        layout = KVLayout(configuration, precision: precision)
        limit = maximumBytes.map { [layout] in max(1, $0 / layout.pageBytes) }
    }

    /// Bytes of a page.
    public var pageBytes: Int { layout.pageBytes }

    /// Pages that someone refers to.
    public var usedCount: Int { state.withLock { $0.used } }

    /// Pages that may still be taken.
    public var freeCount: Int { limit.map { $0 - usedCount } ?? .max }

    /// A page that holds anything; nil where the limit is reached.
    public func makePage() -> KVPage? {
        let memory = state.withLock { state -> Memory? in
            if let limit, state.used >= limit { return nil }
            state.used += 1
            if let memory = state.free.popLast() { return memory }
            return carve(&state)
        }
        return memory.map { KVPage($0, of: self) }
    }

    // Pages come from slabs, so that the system can give large ones; what of a slab was never asked for
    // takes no memory.
    private func carve(_ state: inout State) -> Memory {
        let bytes = layout.pageBytes
        let count = max(1, Self.slabBytes / bytes)
        var slab = state.slab ?? (Buffer(uninitialized: count * bytes), 0)
        let memory = Memory(
            start: UnsafeMutableRawPointer(slab.memory.pointer) + slab.next * bytes,
            slab: slab.memory)
        slab.next += 1
        state.slab = slab.next < count ? slab : nil
        return memory
    }

    private static let slabBytes = 32 << 20

    fileprivate func takeBack(_ memory: Memory) {
        state.withLock {
            $0.used -= 1
            $0.free.append(memory)
        }
    }
}

/// Keys and values of some consecutive positions, of every block.
public final class KVPage: Sendable {
    private let memory: KVPool.Memory
    private let pool: KVPool

    fileprivate init(_ memory: KVPool.Memory, of pool: KVPool) {
        self.memory = memory
        self.pool = pool
    }

    deinit { pool.takeBack(memory) }

    /// Its first byte.
    var start: UnsafeMutableRawPointer { memory.start }
}
