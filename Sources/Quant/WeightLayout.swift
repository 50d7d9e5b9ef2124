/// What is known of a weight matrix before it is read: its size, and how its weights are stored.
public struct WeightLayout: Sendable, Equatable {
    /// How weights are stored.
    public enum Storage: Sendable, Equatable {
        /// Floats of so many bytes each.
        case floats(bytes: Int)
        /// 4-bit codes, and an fp32 scale for so many of them.
        case fourBit(blockSize: Int)
    }

    /// Output features.
    public var rows: Int
    /// Input features.
    public var columns: Int
    /// How the weights are stored.
    public var storage: Storage
    /// Whether they stay in a mapped file; otherwise in memory of their own.
    public var isMapped: Bool

    /// Describes a matrix.
    public init(rows: Int, columns: Int, storage: Storage, isMapped: Bool = true) {
        self.rows = rows
        self.columns = columns
        self.storage = storage
        self.isMapped = isMapped
    }

    /// Whether the weights are 4-bit codes.
    public var isQuantized: Bool {
        if case .fourBit = storage { true } else { false }
    }

    /// Bytes of the weights, decoded scales included.
    public var memory: Int {
        let count = rows * columns
        return switch storage {
        case .floats(let bytes): bytes * count
        case .fourBit(let blockSize):
            (count + 1) / 2 + (count + blockSize - 1) / blockSize * MemoryLayout<Float>.stride
        }
    }
}
