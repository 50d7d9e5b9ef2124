import Foundation
public import LorikeetQuant
public import LorikeetRuntime

extension MemoryPlan {
    /// What a plan needs to know of the base and of what it runs on.
    public struct Base: Sendable {
        /// The weights.
        public var model: LlamaModel.Memory
        /// Bytes of the tokenizer's files.
        public var tokenizerFileBytes: Int
        /// The arithmetic of products with the weights.
        public var precision: Precision
        /// Threads.
        public var threads: Int

        /// Reads the headers of `checkpoint`.
        ///
        /// - Throws: as loading the model does.
        public init(
            _ checkpoint: any Checkpoint, precision: Precision, threads: Int
        ) throws {
            model = try LlamaModel.memory(of: checkpoint, precision: precision)
            tokenizerFileBytes = try TokenizerFiles.byteCount(checkpoint)
            self.precision = precision
            self.threads = threads
        }

        /// The base that `model` was made from.
        init(_ model: LanguageModel) throws {
            try self.init(
                model.checkpoint, precision: model.compute.precision,
                threads: model.compute.pool.count)
        }
    }

    /// What a plan needs to know of the rows.
    public struct Data: Sendable {
        /// The longest row.
        public var longestRow: Int
        /// Tokens of a pass for each row of the batch size: the longest row's, or the room that packed rows
        /// have.
        public var tokensPerSlot: Int
        /// The tokens that occur; nil for any.
        public var tokens: Set<Int32>?
        /// Bytes of the rows in memory.
        public var memory: Int

        /// Rows of up to `maximumLength` tokens that are not known yet.
        public init(maximumLength: Int) {
            longestRow = maximumLength
            tokensPerSlot = maximumLength
            tokens = nil
            memory = 0
        }

        /// The rows of `data`, cut at `maximumLength` tokens.
        public init(_ data: TrainingData, options: TrainingOptions, maximumLength: Int) {
            longestRow = max(data.rows.longestRow, data.validation?.longestRow ?? 0)
            tokensPerSlot =
                options.batching == .packed ? max(longestRow, maximumLength) : longestRow
            memory = data.memory
            tokens = data.tokens
        }
    }
}
