/// The expressions that cut a text into the words of a byte-level vocabulary.
enum ByteLevelExpression {
    /// Llama 3's, which is GPT-4's.
    static let llama3 =
        #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"#
        + #"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#

    /// Those that `tokenizer.ggml.pre` names, as transformers has them.
    static let named: [String: String] = {
        let qwen2 =
            #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"#
            + #"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
        // A word: capitals or marks, then small letters; and one of capitals alone.
        let title =
            #"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"#
        let capitals =
            #"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"#
        let rest = #"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
        let contraction = #"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"#
        let tekken = title + "|" + capitals + #"|\p{N}"# + rest
        let gpt4o = title + contraction + "|" + capitals + contraction + #"|\p{N}{1,3}"# + rest
        let named = [
            llama3: [
                "llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0",
                "lfm2",
                "jina-v5-nano", "dbrx", "smaug-bpe",
            ],
            qwen2: ["qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2", "megrez"],
            tekken: ["tekken"],
            gpt4o: ["gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"],
        ]
        return Dictionary(
            uniqueKeysWithValues: named.flatMap { expression, names in
                names.map { ($0, expression) }
            })
    }()
}
