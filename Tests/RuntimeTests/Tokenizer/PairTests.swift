import LorikeetRuntime
import TestSupport
import Testing

@Suite struct `Pairs of texts` {
    private func tokenizer(_ processor: JSON) throws -> Tokenizer {
        var json = ByteTokenizer.json(added: ["[CLS]", "[SEP]"])
        json["post_processor"] = processor
        return try Tokenizer(json: json, source: "tokenizer.json")
    }

    private static let tokens: JSON = [
        "[CLS]": ["id": "[CLS]", "ids": [256], "tokens": ["[CLS]"]],
        "[SEP]": ["id": "[SEP]", "ids": [257], "tokens": ["[SEP]"]],
    ]

    private static func special(_ name: String, _ type: Int) -> JSON {
        ["SpecialToken": ["id": .string(name), "type_id": .int(type)]]
    }

    private static func text(_ name: String, _ type: Int) -> JSON {
        ["Sequence": ["id": .string(name), "type_id": .int(type)]]
    }

    private static let template: JSON = [
        "type": "TemplateProcessing", "special_tokens": tokens,
        "single": [special("[CLS]", 0), text("A", 0), special("[SEP]", 0)],
        "pair": [
            special("[CLS]", 0), text("A", 0), special("[SEP]", 0), text("B", 1),
            special("[SEP]", 1),
        ],
    ]

    @Test(arguments: [
        template, ["type": "BertProcessing", "cls": ["[CLS]", 256], "sep": ["[SEP]", 257]],
        ["type": "Sequence", "processors": [["type": "ByteLevel"], template]],
    ])
    func `are put and told apart as the file says`(processor: JSON) throws {
        let encoded = try tokenizer(processor).encode("ab", pair: "c", maximumLength: 100)
        #expect(encoded.ids == [256, 97, 98, 257, 99, 257])
        #expect(encoded.firstTextCount == 4 && encoded.cut == 0)
        let single = try tokenizer(processor).encode("abc", pair: nil, maximumLength: 4)
        #expect(single.ids == [256, 97, 98, 257] && single.cut == 1)
        #expect(single.firstTextCount == nil)
    }

    @Test func `have one type where the file says so`() throws {
        let roberta: JSON = [
            "type": "RobertaProcessing", "cls": ["[CLS]", 256], "sep": ["[SEP]", 257],
        ]
        let encoded = try tokenizer(roberta).encode("a", pair: "b", maximumLength: 100)
        #expect(encoded.ids == [256, 97, 257, 257, 98, 257] && encoded.firstTextCount == nil)
    }

    @Test(arguments: [
        // Tokens of either text, the limit, and what `tokenizers` 0.23.3 leaves of them.
        (10, 5, 10, 4, 3), (5, 10, 10, 3, 4), (2, 10, 10, 2, 5), (10, 2, 10, 5, 2),
        (6, 6, 10, 3, 4), (4, 5, 10, 3, 4), (5, 4, 11, 4, 4), (3, 3, 9, 3, 3), (20, 1, 7, 3, 1),
    ])
    func `are cut as the tokenizers package cuts them`(
        a: Int, b: Int, limit: Int, x: Int, y: Int
    )
        throws
    {
        let encoded = try tokenizer(Self.template).encode(
            String(repeating: "a", count: a), pair: String(repeating: "b", count: b),
            maximumLength: limit)
        #expect(encoded.ids.count { $0 == 97 } == x && encoded.ids.count { $0 == 98 } == y)
        #expect(encoded.cut == a + b - x - y && encoded.firstTextCount == x + 2)
    }

    @Test func `a template without its texts is refused`() {
        for pair: JSON in [
            [Self.text("A", 0)], [Self.text("B", 0), Self.text("A", 1)],
            [Self.text("A", 0), Self.text("B", 1), Self.text("B", 1)], [["Word": 1]],
        ] {
            var template = Self.template
            template["pair"] = pair
            #expect(throws: LorikeetError.self) { try tokenizer(template) }
        }
    }
}
