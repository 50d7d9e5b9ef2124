import Foundation
import LorikeetRuntime
import OrderedCollections
import Testing

/// Replays what Python's jinja2 made of templates, recorded by `Tests/interop/jinja_golden.py`.
@Suite struct JinjaGoldenTests {
    static let golden: JSON = {
        guard
            let url = Bundle.module.url(
                forResource: "jinja_golden", withExtension: "json",
                subdirectory: "Resources/ChatTemplate"),
            let json = try? JSON(contentsOf: url.path)
        else { preconditionFailure("the recorded templates are missing from the test bundle") }
        return json
    }()

    /// One recorded rendering: what jinja2 wrote, the template's own refusal, or any other error.
    private func expect(_ record: JSON, _ label: String, _ render: () throws -> String) {
        do {
            let output = try render()
            if let expected = record["output"]?.string {
                // compared as bytes: Swift's strings would take "e\u{301}" for "é"
                let isEqual = Array(output.utf8) == Array(expected.utf8)
                #expect(
                    isEqual,
                    "\(label)\nexpected \(String(reflecting: expected))\ngot      \(String(reflecting: output))"
                )
            } else {
                Issue.record(
                    "\(label)\nrendered \(String(reflecting: output)), jinja2 raises \(record)")
            }
        } catch let error as LorikeetError {
            if let message = record["raised"]?.string {
                #expect(
                    error.code == .invalidArgument && error.problem == message, "\(label)\n\(error)"
                )
            } else {
                #expect(
                    error.code == .malformed && record["error"] != nil,
                    "\(label)\n\(error)\n\(record)")
                #expect(error.problem.hasPrefix("line "), "\(error)")
            }
        } catch {
            Issue.record("\(label)\nan error of another type: \(error)")
        }
    }

    @Test func `expressions and statements give what jinja2 gives`() throws {
        let context = try #require(Self.golden["context"]?.object)
        let variables = Dictionary(
            uniqueKeysWithValues: context.map { ($0.key, JinjaValue($0.value)) })
        let cases = try #require(Self.golden["cases"]?.array)
        #expect(cases.count > 200)
        for record in cases {
            let template = try #require(record["template"]?.string)
            expect(record, template) {
                try JinjaTemplate(template, name: "case").render(variables)
            }
        }
    }

    @Test func `chats are rendered as transformers renders them`() throws {
        let chats = try #require(Self.golden["chats"]?.array)
        #expect(chats.count > 300)
        for record in chats {
            let model = try #require(record["model"]?.string)
            let chat = try #require(record["chat"]?.string)
            let template = try ChatTemplate(
                source: #require(Self.golden["models"]?[model]?.string), name: model,
                beginningOfText: "<s>", endOfText: "</s>")
            let messages = try #require(Self.golden["messages"]?[chat]?.array)
                .map { try ChatMessage($0, source: chat) }
            let prompt = record["add_generation_prompt"]?.bool == true
            let tools = record["tools"]?.bool == true ? Self.golden["tools"] : nil
            let extra = try #require(record["extra"]?.object)
            expect(record, "\(model) \(chat) prompt \(prompt) tools \(tools != nil)") {
                try template.render(
                    messages, addGenerationPrompt: prompt, tools: tools,
                    extra: Dictionary(uniqueKeysWithValues: extra.map { ($0.key, $0.value) }))
            }
        }
    }
}
