import LorikeetRuntime

/// What a model is asked with, as text.
struct Prompt {
    /// The text up to where the answer begins.
    let text: String
    /// Whether the tokenizer adds its special tokens; a chat template has written them itself.
    let addsSpecialTokens: Bool

    /// The tokens of the prompt, and of the prompt with `continuation` behind it.
    ///
    /// The tokens of both as one text, where the prompt keeps the tokens it has alone, which are what the
    /// model will be asked with; otherwise each tokenized by itself.
    func tokens(
        continuedBy continuation: String, _ tokenizer: Tokenizer
    ) -> (prompt: [Int32], whole: [Int32]) {
        let prompt = tokens(tokenizer)
        let whole = encode(text + continuation, tokenizer)
        guard whole.starts(with: prompt) else {
            return (prompt, prompt + tokenizer.encode(continuation, addSpecialTokens: false))
        }
        return (prompt, whole)
    }

    /// The tokens of the prompt.
    func tokens(_ tokenizer: Tokenizer) -> [Int32] { encode(text, tokenizer) }

    private func encode(_ text: String, _ tokenizer: Tokenizer) -> [Int32] {
        var ids = tokenizer.encode(text, addSpecialTokens: addsSpecialTokens)
        // A tokenizer that ends every text must not end what goes on.
        if let end = tokenizer.endOfText, ids.last == end,
            tokenizer.encode(text, addSpecialTokens: false).last != end
        {
            ids.removeLast()
        }
        return ids
    }
}

extension Prompt {
    /// The prompt of Stanford's Alpaca, github.com/tatsu-lab/stanford_alpaca.
    static func alpaca(_ instruction: String, _ input: String) -> Prompt {
        let context = input.isEmpty ? "" : ", paired with an input that provides further context"
        let section = input.isEmpty ? "" : "### Input:\n\(input)\n\n"
        return Prompt(
            text: "Below is an instruction that describes a task\(context). "
                + "Write a response that appropriately completes the request.\n\n"
                + "### Instruction:\n\(instruction)\n\n\(section)### Response:\n",
            addsSpecialTokens: true)
    }
}
