import LorikeetRuntime
import OrderedCollections
import Synchronization

/// What answers are bound to: a grammar for each schema that was asked for lately, over the model's tokens.
final class AnswerGrammars: Sendable {
    private struct State {
        var vocabulary: ConstraintVocabulary?
        // The one that was used last comes last.
        var known: OrderedDictionary<String, ConstraintAutomaton> = [:]
    }

    private static let limit = 32

    private let model: LanguageModel
    private let state = Mutex(State())

    /// No grammars yet, of answers of `model`.
    init(_ model: LanguageModel) { self.model = model }

    /// The grammar of `shape`; nil where anything goes.
    ///
    /// The first one takes some tenths of a second, for all tokens are looked at.
    ///
    /// - Throws: `APIError` that names the parameter.
    func automaton(for shape: AnswerShape) throws -> ConstraintAutomaton? {
        guard let key = shape.key else { return nil }
        if let known = known(key) { return known }
        let automaton = ConstraintAutomaton(try shape.grammar(of: model), vocabulary())
        state.withLock { state in
            if state.known.count >= Self.limit { state.known.removeFirst() }
            state.known[key] = automaton
        }
        return automaton
    }

    private func known(_ key: String) -> ConstraintAutomaton? {
        state.withLock { state in
            guard let automaton = state.known.removeValue(forKey: key) else { return nil }
            state.known[key] = automaton
            return automaton
        }
    }

    private func vocabulary() -> ConstraintVocabulary {
        state.withLock { state in
            let vocabulary =
                state.vocabulary
                ?? ConstraintVocabulary(
                    model.tokenizer, endTokens: model.endTokens,
                    count: model.model.configuration.vocabularySize)
            state.vocabulary = vocabulary
            return vocabulary
        }
    }
}

extension AnswerShape {
    /// What tells its grammar from others; nil where it has none.
    fileprivate var key: String? {
        switch toolChoice {
        case .none, .auto: break
        case .required, .named:
            let list = JSON.array(calledTools.map(\.json)).text()
            return "tools \(allowsSeveral) \(list)"
        }
        return switch format {
        case .text: nil
        case .jsonObject: "json_object"
        case .jsonSchema(let schema): "json_schema \(schema.text())"
        }
    }

    /// The tools among which an answer must choose.
    private var calledTools: [ToolDefinition] {
        guard case .named(let name) = toolChoice else { return tools }
        return tools.filter { $0.name == name }
    }

    // A tool that is named is called once, as OpenAI does it.
    private var allowsSeveral: Bool {
        if case .named = toolChoice { false } else { allowsSeveralCalls }
    }

    /// - Throws: `APIError` for a schema that cannot be followed.
    fileprivate func grammar(of model: LanguageModel) throws -> ConstraintGrammar {
        switch toolChoice {
        case .none, .auto: break
        case .required, .named:
            return try APIError.naming("tools") {
                try .toolCalls(
                    calledTools, format: model.chatTemplate?.toolCallFormat ?? .hermes,
                    allowsSeveral: allowsSeveral)
            }
        }
        return try APIError.naming("response_format") {
            switch format {
            case .text: preconditionFailure("text has no grammar")
            case .jsonObject: try .jsonObject()
            case .jsonSchema(let schema): try .jsonSchema(schema)
            }
        }
    }
}

extension APIError {
    /// What `body` gives; what is wrong with it is told of `parameter`.
    static func naming<Result>(
        _ parameter: String, _ body: () throws -> Result
    ) throws -> Result {
        do {
            return try body()
        } catch let error as LorikeetError {
            var answer = APIError(error)
            answer.parameter = parameter
            throw answer
        }
    }
}
