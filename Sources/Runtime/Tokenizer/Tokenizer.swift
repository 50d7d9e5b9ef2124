/// Text to token ids and back, exactly as the Hugging Face `tokenizers` package does it.
///
/// ```swift
/// let tokenizer = try Tokenizer(folder: "models/SmolLM2-135M-Instruct")
/// let ids = tokenizer.encode("Hello, world!")      // [19556, 28, 905, 17]
/// let text = tokenizer.decode(ids)                 // "Hello, world!"
/// ```
///
/// A text goes through five stages, tokenizer.json's, into which the other kinds of vocabulary (SentencePiece's,
/// tiktoken's, BERT's vocab.txt) are read as well: added tokens are cut out, the rest is normalized, pre-tokenized into words, each word becomes tokens by the model, and
/// the post-processor adds special tokens around them. A truncation or padding that the file asks for is
/// left to the caller, as in transformers.
public struct Tokenizer: Sendable {
    let vocabulary: Vocabulary
    let addedTokens: AddedTokenMatcher
    let normalizedAddedTokens: AddedTokenMatcher
    let specialIDs: Set<Int32>
    let normalizer: (any Normalizer)?
    let preTokenizer: (any PreTokenizer)?
    let model: any TokenModel
    let postProcessor: PostProcessor
    let decodingStages: [any DecodingStage]

    /// The token that begins a text, if the files name one.
    public internal(set) var beginningOfText: Int32?
    /// The token that ends a text, if the files name one.
    public internal(set) var endOfText: Int32?

    /// The ids of `text`.
    ///
    /// The post-processor adds its tokens if `addSpecialTokens` says so; special tokens that stand in the
    /// text itself are found either way.
    public func encode(_ text: String, addSpecialTokens: Bool = true) -> [Int32] {
        var text = text
        return text.withUTF8 { encode(validated: $0, addSpecialTokens: addSpecialTokens) }
    }

    /// The ids of a text in UTF-8; what is not valid becomes U+FFFD.
    public func encode(
        bytes: UnsafeRawBufferPointer, addSpecialTokens: Bool = true
    ) -> [Int32] {
        encode(String(decoding: bytes, as: UTF8.self), addSpecialTokens: addSpecialTokens)
    }

    private func encode(
        validated text: UnsafeBufferPointer<UInt8>, addSpecialTokens: Bool
    ) -> [Int32] {
        var ids: [Int32] = []
        ids.reserveCapacity(text.count / 4)
        addedTokens.split(text) { part in
            switch part {
            case .token(let id): ids.append(id)
            case .text(let range):
                var normalized = Array(text[range])
                normalizer?.normalize(&normalized)
                appendTokens(ofNormalized: normalized, isAtStart: range.lowerBound == 0, to: &ids)
            }
        }
        return addSpecialTokens ? postProcessor.apply(to: ids) : ids
    }

    private func appendTokens(ofNormalized text: [UInt8], isAtStart: Bool, to ids: inout [Int32]) {
        text.withUnsafeBufferPointer { buffer in
            normalizedAddedTokens.split(buffer) { part in
                switch part {
                case .token(let id): ids.append(id)
                case .text(let range):
                    var piece = PreTokenizedText(
                        range == text.indices ? text : Array(text[range]),
                        isAtStart: isAtStart && range.lowerBound == 0)
                    preTokenizer?.apply(to: &piece)
                    model.appendTokens(of: piece, to: &ids)
                }
            }
        }
    }

    /// The text of `ids`; an id that no token has says nothing.
    public func decode(_ ids: some Sequence<Int32>, skipSpecialTokens: Bool = false) -> String {
        var decoder = streamingDecoder(skipSpecialTokens: skipSpecialTokens)
        var text = ""
        for id in ids { text += decoder.append(id) }
        return text + decoder.finish()
    }

    /// A decoder for tokens that come one at a time.
    public func streamingDecoder(skipSpecialTokens: Bool = true) -> StreamingDecoder {
        StreamingDecoder(self, stages: decodingStages, skipsSpecialTokens: skipSpecialTokens)
    }

    /// The number of tokens, added ones included; ids may have gaps, see `idBound`.
    public var vocabularyCount: Int { vocabulary.count }

    /// One past the highest id.
    public var idBound: Int { vocabulary.idBound }

    /// The id of a token as the vocabulary spells it, or nil.
    public func id(of token: String) -> Int32? { vocabulary.id(of: token.utf8) }

    /// A token as the vocabulary spells it, or nil for an id that no token has.
    public func token(of id: Int32) -> String? { vocabulary.token(of: id) }

    /// Whether a token is one of the special ones, which `skipSpecialTokens` leaves out.
    public func isSpecial(_ id: Int32) -> Bool { specialIDs.contains(id) }

    /// The text of `beginningOfText`.
    public var beginningOfTextToken: String? { beginningOfText.flatMap(token(of:)) }

    /// The text of `endOfText`.
    public var endOfTextToken: String? { endOfText.flatMap(token(of:)) }

    /// The tokens that are found in the text before anything else looks at it.
    var addedTokenIDs: [Int32] { addedTokens.ids + normalizedAddedTokens.ids }

    func bytes(of id: Int32) -> ArraySlice<UInt8>? { vocabulary.bytes(of: id) }
}
