import LorikeetRuntime

/// What a request wants encoded: a text, tokens, or a pair of texts that are judged together.
enum EncoderInput: Sendable {
    /// A text, or tokens.
    case prompt(PromptInput)
    /// Two texts.
    case pair(String, String)

    /// Reads a text, some texts, pairs of texts, tokens, or some lists of tokens.
    ///
    /// - Throws: `APIError` that names the parameter, `name`.
    static func list(_ value: JSON, name: String) throws -> [EncoderInput] {
        guard let values = value.array, values.contains(where: isPair) else {
            return try PromptInput.list(value, name: name).map(EncoderInput.prompt)
        }
        return try values.enumerated().map { index, value in
            if let text = value.string { return .prompt(.text(text)) }
            let texts = value.array?.map(\.string) ?? []
            guard texts.count == 2, let first = texts[0], let second = texts[1] else {
                throw APIError.type(
                    "\(name)[\(index)]", expected: "a text or two of a pair", got: value)
            }
            return .pair(first, second)
        }
    }

    private static func isPair(_ value: JSON) -> Bool { value.array?.first?.string != nil }

    /// Its tokens, at most so many: a text is cut as the `tokenizers` package cuts it.
    ///
    /// - Returns: the row, and how many tokens it had.
    func row(_ tokenizer: Tokenizer, atMost limit: Int) -> (row: TrainingRow, count: Int) {
        let encoded: Tokenizer.EncodedTexts
        switch self {
        case .prompt(.tokens(let tokens)):
            let row = TrainingRow(inputIDs: Array(tokens.prefix(limit)), target: nil)
            return (row, tokens.count)
        case .prompt(.text(let text)):
            encoded = tokenizer.encode(text, pair: nil, maximumLength: limit)
        case .pair(let first, let second):
            encoded = tokenizer.encode(first, pair: second, maximumLength: limit)
        }
        let row = TrainingRow(
            inputIDs: encoded.ids, firstTextCount: encoded.firstTextCount, target: nil)
        return (row, encoded.ids.count + encoded.cut)
    }
}
