/// The stages of a tokenizer as a reader of one kind of file has put them together.
///
/// tokenizer.json, a SentencePiece model, tiktoken's ranks and BERT's vocab.txt all come to this.
struct TokenizerPipeline {
    /// Cut out of the text before anything else looks at it.
    var addedTokens: [AddedToken] = []
    var normalizer: (any Normalizer)?
    var preTokenizer: (any PreTokenizer)?
    /// The model's tokens; added tokens may be among them.
    var vocabulary: Vocabulary
    var model: any TokenModel
    var postProcessor = PostProcessor()
    var decodingStages: [any DecodingStage] = [SpacedDecoding()]
}

extension Tokenizer {
    /// Joins the stages; `root` is the file that they were read from.
    ///
    /// - Throws: `.malformed` where an added token contradicts the vocabulary, or the post-processor adds a
    ///   token that is not there.
    init(_ pipeline: TokenizerPipeline, root: TokenizerSection) throws {
        let added = pipeline.addedTokens
        var vocabulary = pipeline.vocabulary
        let count = vocabulary.count + added.count
        for token in added { try vocabulary.insert(token, of: count, section: root) }

        func matcher(normalized: Bool) -> AddedTokenMatcher {
            AddedTokenMatcher(added.filter { $0.isNormalized == normalized })
        }
        addedTokens = matcher(normalized: false)
        normalizedAddedTokens = matcher(normalized: true)
        specialIDs = Set(added.lazy.filter(\.isSpecial).map(\.id))
        normalizer = pipeline.normalizer
        preTokenizer = pipeline.preTokenizer
        model = pipeline.model
        postProcessor = pipeline.postProcessor
        for id in postProcessor.addedIDs where vocabulary.bytes(of: id) == nil {
            throw root.failure(
                .malformed, "post_processor", "adds a token that is not there", got: "\(id)")
        }
        decodingStages = pipeline.decodingStages
        self.vocabulary = vocabulary
    }
}

extension Vocabulary {
    /// Adds a token unless it is there already, with the same id.
    fileprivate mutating func insert(
        _ token: AddedToken, of count: Int, section: TokenizerSection
    ) throws {
        try token.content.withUnsafeBufferPointer { content in
            guard let id = id(of: content) else {
                return try insert(content, id: token.id, of: count, section: section)
            }
            guard id == token.id else {
                throw section.failure(
                    .malformed, "added_tokens",
                    "\(String(reflecting: String(decoding: content, as: UTF8.self))) has two ids",
                    expected: "\(id)", got: "\(token.id)")
            }
        }
    }
}
