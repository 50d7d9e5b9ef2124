/// How a model writes that it wants a function called.
public enum ToolCallFormat: String, Sendable, CaseIterable {
    /// `<tool_call>{"name": …, "arguments": …}</tool_call>`: Hermes, Qwen, and models without a way of their own.
    case hermes
    /// `{"name": …, "parameters": …}` as the whole answer, perhaps after `<|python_tag|>`: Llama 3.
    case llama3
    /// `[TOOL_CALLS] [{"name": …, "arguments": …}]`: Mistral up to the tokenizer's version 7.
    case mistral

    /// The format that a template asks the model for, by what it writes itself.
    init(of source: String) {
        if source.contains("[TOOL_CALLS]") {
            self = .mistral
        } else if source.contains("<tool_call>") {
            self = .hermes
        } else if source.contains("<|python_tag|>") || source.contains("ipython") {
            self = .llama3
        } else {
            self = .hermes
        }
    }

    /// What announces a call within text.
    var marker: String {
        switch self {
        case .hermes: "<tool_call>"
        case .llama3: "<|python_tag|>"
        case .mistral: "[TOOL_CALLS]"
        }
    }

    /// The key of a call's arguments.
    var argumentsKey: String { self == .llama3 ? "parameters" : "arguments" }
}
