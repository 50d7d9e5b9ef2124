/// How an instruction is put to a model.
public enum PromptStyle: String, Sendable, CaseIterable {
    /// Through the model's chat template, as what a user says.
    case chat
    /// Stanford's Alpaca prompt, which LLM-Adapters and the papers that measure with it use.
    case alpaca
}
