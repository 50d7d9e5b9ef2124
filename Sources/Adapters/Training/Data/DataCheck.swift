public import LorikeetQuant
public import LorikeetRuntime

/// What is right and what is wrong with a data file; unlike `TrainingData` it goes on after a bad line.
///
/// ```swift
/// let check = try DataCheck(
///     jsonl: "rows.jsonl", tokenizer: model.tokenizer, chatTemplate: model.chatTemplate,
///     maximumLength: 512)
/// for error in check.errors { print(error) }
/// ```
public struct DataCheck: Sendable {
    /// How many errors are kept.
    public static let maximumErrors = 20

    /// The rows that can be trained on.
    public let rows: any TrainingRows
    /// What was read, cut and left out.
    public let report: DataReport
    /// What is wrong, by line: the first `maximumErrors`.
    public let errors: [LorikeetError]
    /// How many lines are wrong.
    public let errorCount: Int

    /// Reads a file once.
    ///
    /// - Parameters:
    ///   - path: the file.
    ///   - tokenizer: the model's.
    ///   - chatTemplate: how chats become text; rows of messages need one.
    ///   - maximumLength: tokens per row; what is past them is cut off.
    ///   - pool: the threads to tokenize on; nil for the caller's own.
    /// - Throws: `.notFound`, `.io`.
    public init(
        jsonl path: String, tokenizer: Tokenizer, chatTemplate: ChatTemplate?, maximumLength: Int,
        pool: ThreadPool? = nil
    ) throws {
        let pool = pool ?? ThreadPool(threads: 1)
        var (errors, count): ([LorikeetError], Int) = ([], 0)
        let rows = try IndexedRows(
            path, reader: TrainingRowReader(tokenizer: tokenizer, chatTemplate: chatTemplate),
            maximumLength: maximumLength, on: pool
        ) { error in
            if count < Self.maximumErrors { errors.append(error) }
            count += 1
        }
        if count == 0 {
            do { try rows.requireTargets() } catch let error as LorikeetError {
                errors.append(error)
                count = 1
            }
        }
        self.rows = rows
        self.errors = errors
        errorCount = count
        report = DataReport(file: rows.counts, training: .init(rows))
    }
}

extension TrainingRow {
    /// A part of a row's text.
    public struct Span: Sendable, Equatable {
        /// The text, special tokens and all.
        public var text: String
        /// Whether it is predicted.
        public var isTrained: Bool

        /// A part of a row's text.
        public init(text: String, isTrained: Bool) {
            self.text = text
            self.isTrained = isTrained
        }
    }

    /// The text, divided where training begins and ends.
    ///
    /// A character of several tokens stands where the last of them does.
    public func spans(_ tokenizer: Tokenizer) -> [Span] {
        var spans: [Span] = []
        var decoder = tokenizer.streamingDecoder(skipSpecialTokens: false)
        for (index, id) in inputIDs.enumerated() {
            // Nothing predicts the first token.
            let isTrained = index > 0 && labels[index] != Self.masked
            var text = decoder.append(id)
            if index == inputIDs.count - 1 { text += decoder.finish() }
            if spans.last?.isTrained == isTrained {
                spans[spans.count - 1].text += text
            } else {
                spans.append(Span(text: text, isTrained: isTrained))
            }
        }
        return spans
    }
}
