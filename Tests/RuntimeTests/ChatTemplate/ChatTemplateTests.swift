import Foundation
import LorikeetRuntime
import OrderedCollections
import Testing

@Suite struct ChatTemplateTests {
    private func resource(_ name: String) -> String {
        Bundle.module.bundlePath + "/Resources/ChatTemplate/" + name
    }

    /// A folder with the given files, removed by the caller's `defer`.
    private func folder(_ files: [String: String]) throws -> String {
        let path = NSTemporaryDirectory() + "chat-template-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        for (name, text) in files {
            try text.write(toFile: path + "/" + name, atomically: false, encoding: .utf8)
        }
        return path
    }

    private func error(_ body: () throws -> Void) -> LorikeetError? {
        do { try body() } catch { return error as? LorikeetError }
        return nil
    }

    private let hi = [ChatMessage(role: "user", content: "Hi")]

    @Test func `SmolLM2's chats come out as transformers wrote them`() throws {
        let source = try String(contentsOfFile: resource("smollm2.jinja"), encoding: .utf8)
        let template = try ChatTemplate(
            source: source, name: "smollm2.jinja", beginningOfText: "<|im_start|>",
            endOfText: "<|im_end|>")
        let chats = try #require(JSON(contentsOf: resource("smollm2_chats.json")).array)
        #expect(chats.count == 2)
        for chat in chats {
            let messages = try #require(chat["messages"]?.array).map {
                try ChatMessage($0, source: "")
            }
            let text = try template.render(messages, addGenerationPrompt: true)
            #expect(text == chat["text"]?.string)
        }
    }

    @Test func `the template file comes before the configuration`() throws {
        let path = try folder([
            "chat_template.jinja": "file {{ bos_token }} {{ eos_token }}",
            "tokenizer_config.json":
                #"{"bos_token": {"content": "<s>"}, "eos_token": "</s>", "chat_template": "embedded"}"#,
        ])
        defer { try? FileManager.default.removeItem(atPath: path) }
        let template = try #require(try ChatTemplate.load(folder: path))
        #expect(try template.render(hi, addGenerationPrompt: false) == "file <s> </s>")
    }

    @Test func `an embedded template is a string or the default of several`() throws {
        let single = try folder([
            "tokenizer_config.json":
                #"{"chat_template": "{{ messages[0].content }}{{ bos_token }}"}"#
        ])
        let several = try folder([
            "tokenizer_config.json": """
            {"chat_template": [{"name": "rag", "template": "x"}, {"name": "default", "template": "d"}]}
            """
        ])
        defer {
            for path in [single, several] { try? FileManager.default.removeItem(atPath: path) }
        }
        #expect(
            try ChatTemplate.load(folder: single)?.render(hi, addGenerationPrompt: true) == "Hi")
        #expect(
            try ChatTemplate.load(folder: several)?.render(hi, addGenerationPrompt: true) == "d")
    }

    @Test func `a folder without a template has none, one with a broken template is an error`()
        throws
    {
        let none = try folder(["tokenizer_config.json": "{}"])
        let empty = try folder([:])
        let number = try folder(["tokenizer_config.json": #"{"chat_template": 5}"#])
        let unnamed = try folder([
            "tokenizer_config.json": #"{"chat_template": [{"name": "rag", "template": "x"}]}"#
        ])
        let broken = try folder(["chat_template.jinja": "a\n{% if %}"])
        defer {
            for path in [none, empty, number, unnamed, broken] {
                try? FileManager.default.removeItem(atPath: path)
            }
        }
        let absent = try ChatTemplate.load(folder: none)
        #expect(absent == nil)
        let nothing = try ChatTemplate.load(folder: empty)
        #expect(nothing == nil)
        #expect(error { _ = try ChatTemplate.load(folder: number) }?.code == .malformed)
        #expect(error { _ = try ChatTemplate.load(folder: unnamed) }?.got == "rag")
        let failure = error { _ = try ChatTemplate.load(folder: broken) }
        #expect(failure?.subject == broken + "/chat_template.jinja")
        #expect(failure?.problem.hasPrefix("line 2: ") == true)
    }

    @Test func `a template's own refusal is told in its words`() throws {
        let template = try ChatTemplate(
            source: "{{ raise_exception('Roles must alternate') }}", name: "t",
            beginningOfText: nil,
            endOfText: nil)
        let failure = error { _ = try template.render(hi, addGenerationPrompt: true) }
        #expect(failure == LorikeetError(.invalidArgument, "t", "Roles must alternate"))
    }

    @Test func `an error names the line it happened on`() throws {
        let template = try JinjaTemplate("a\n{% if true %}\n\n{{ x.y }}\n{% endif %}", name: "t")
        #expect(error { _ = try template.render([:]) }?.problem == "line 4: 'x' is undefined")
    }

    @Test func `messages are read as data sets write them`() throws {
        let call = JSON.object(["role": "assistant", "content": nil, "tool_calls": [["id": "1"]]])
        let message = try ChatMessage(call, source: "line 1")
        #expect(message.role == "assistant")
        #expect(message.extra["content"] == .null)
        for (json, clue) in [
            ("[]", "no object"), (#"{"content": "x"}"#, "role"), (#"{"role": "user"}"#, "content"),
            (#"{"role": 5, "content": "x"}"#, "role"),
            (#"{"role": "user", "content": 5}"#, "content"),
        ] {
            let failure = error {
                _ = try ChatMessage(JSON(parsing: json, source: ""), source: "line 3")
            }
            #expect(failure?.subject == "line 3")
            #expect(failure?.problem.contains(clue) == true, "\(json)")
        }
    }

    @Test func `the date is today's`() throws {
        let template = try JinjaTemplate("{{ strftime_now('%Y-%m-%d') }}", name: "t")
        let text = try template.render([:])
        #expect(text.split(separator: "-").count == 3 && text.count == 10)
    }
}
