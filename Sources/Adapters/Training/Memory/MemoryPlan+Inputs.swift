import Foundation
public import LorikeetQuant
public import LorikeetRuntime

extension MemoryPlan {
    /// What a plan needs to know of the base and of what it runs on.
    public struct Base: Sendable {
        /// The weights.
        public var model: DecoderModel.Memory
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
            model = try DecoderModel.memory(of: checkpoint, precision: precision)
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
        /// The tokens that occur; nil for any.
        public var tokens: Set<Int32>?
        /// Bytes of the rows in memory.
        public var memory: Int
        private let maximumLength: Int
        private let rows: (any TrainingRows)?
        private let validation: (any TrainingRows)?

        /// Rows of up to `maximumLength` tokens that are not known yet.
        public init(maximumLength: Int) {
            longestRow = maximumLength
            tokens = nil
            memory = 0
            self.maximumLength = maximumLength
            (rows, validation) = (nil, nil)
        }

        /// The rows of `data`, cut at `maximumLength` tokens.
        public init(_ data: TrainingData, maximumLength: Int) {
            longestRow = max(data.rows.longestRow, data.validation?.longestRow ?? 0)
            memory = data.memory
            tokens = data.tokens
            self.maximumLength = maximumLength
            (rows, validation) = (data.rows, data.validation)
        }

        /// The most tokens that go through the model together in a run with `options`.
        func passTokens(_ options: TrainingOptions) -> Int {
            guard let rows else { return options.batchSize * longestRow }
            let order = BatchOrder(rows, options: options, maximumLength: maximumLength)
            return max(
                order.maximumTokens, validation?.largestBatch(of: options.batchSize) ?? 0)
        }
    }
}
