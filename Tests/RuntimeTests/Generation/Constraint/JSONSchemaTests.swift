import LorikeetRuntime
import Testing

@Suite struct JSONSchemaTests {
    /// Schemas, documents that satisfy them as the grammar writes them, and some that do not.
    static let cases: [(schema: String, good: [String], bad: [String])] = [
        (
            #"{"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0, "maximum": 130}, "tags": {"type": "array", "items": {"enum": ["a", "b", "ab"]}, "maxItems": 3}}, "required": ["name", "age"], "additionalProperties": false}"#,
            [
                #"{"name":"Ada","age":36}"#, #"{"name": "", "age": 0, "tags": []}"#,
                "{\n  \"name\": \"日本 \\ud83d\\ude42 🙂\",\n  \"age\": 130,\n  \"tags\": [\n    \"a\",\n    \"ab\"\n  ]\n}",
            ],
            [
                #"{"name":"Ada"}"#, #"{"age":1,"name":"x"}"#, #"{"name":"x","age":131}"#,
                #"{"name":"x","age":-1}"#, #"{"name":"x","age":07}"#,
                #"{"name":"x","age":1,"tags":["c"]}"#, #"{"name":"x","age":1,"z":1}"#,
                #"{"name":"x","age":1,"tags":["a","a","a","a"]}"#, #"{"name":"\ud83d","age":1}"#,
            ]
        ),
        (
            #"{"type": "string", "minLength": 2, "maxLength": 4}"#,
            [#""ab""#, #""abcd""#, #""日本""#, #""\n\u0041\"""#, #""🙂🙂""#],
            [#""a""#, #""abcde""#, "\"a\nb\"", #""ab"#]
        ),
        (
            #"{"type": "string", "pattern": "^[A-Z]{2}-\\d{1,3}(x|yy)?$"}"#,
            [#""AB-1""#, #""AB-123yy""#], [#""A-1""#, #""AB-1234""#, #""AB-1xy""#, #""ab-1""#]
        ),
        (
            #"{"type": "string", "pattern": "[^a\"]c"}"#, [#""b c""#, #""xxbéczz""#, #""b\\c""#],
            [#""bac""#, #""b\"c""#]
        ),
        (
            #"{"type": ["number", "null"]}"#,
            ["0", "-0", "12.50", "-3e5", "1E-07", "1.5e+279", "null"],
            ["01", "+1", ".5", "1.", "1e", "1e300", "--1", "true"]
        ),
        (
            #"{"type": "integer", "minimum": -17, "exclusiveMaximum": 305}"#,
            ["-17", "-9", "0", "9", "99", "299", "304"], ["-18", "305", "1000", "-0", "1.0"]
        ),
        (
            #"{"type": "number", "exclusiveMinimum": 0, "maximum": 1}"#,
            ["1", "1.0", "0.5", "0.001"], ["0", "0.0", "1.1", "-0.5", "2"]
        ),
        (
            #"{"type": "number", "minimum": -2, "maximum": 10}"#,
            ["-2", "-1.99", "-0.5", "0", "9.99", "10", "10.0"], ["-2.1", "10.5", "11", "-3"]
        ),
        (
            #"{"type": "array", "prefixItems": [{"type": "integer"}, {"type": "boolean"}], "items": {"type": "null"}, "minItems": 1, "maxItems": 4}"#,
            ["[1]", "[1, true]", "[1,false,null,null]"],
            ["[]", "[true]", "[1,true,null,null,null]"]
        ),
        (
            #"{"anyOf": [{"type": "object", "properties": {"kind": {"const": "circle"}, "r": {"type": "number"}}, "required": ["kind", "r"]}, {"type": "object", "properties": {"kind": {"const": "cross"}}, "required": ["kind"]}, {"type": "null"}]}"#,
            [#"{"kind":"circle","r":1.5}"#, #"{"kind":"cross"}"#, "null"],
            [#"{"kind":"circle"}"#, #"{"kind":"square"}"#]
        ),
        (
            ##"{"$ref": "#/$defs/node", "$defs": {"node": {"type": "object", "properties": {"value": {"type": "integer"}, "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}}, "required": ["value", "next"], "additionalProperties": false}}}"##,
            [#"{"value":1,"next":null}"#, #"{"value":1,"next":{"value":-22,"next":null}}"#],
            [#"{"value":1}"#, #"{"value":1,"next":1}"#]
        ),
        (
            #"{"type": "object", "properties": {"ab": {"type": "integer"}, "ac": {"type": "integer"}}, "required": ["ac"], "additionalProperties": {"type": "boolean"}}"#,
            [
                #"{"ac":1}"#, #"{"ab":1,"ac":2,"a":true,"abc":false,"x\ny":true,"é":true}"#,
                #"{"ac":2,"":true}"#,
            ],
            [#"{"ac":1,"ab":true}"#, #"{"ac":1,"ab":2}"#, #"{"ac":1,"\u0061b":true}"#]
        ),
        (
            #"{"type": "object", "properties": {"a": {"type": "null"}, "b": {"type": "null"}, "c": {"type": "null"}}}"#,
            [
                "{}", "{ }", #"{"b":null}"#, #"{"a":null,"c":null}"#,
                #"{"a":null,"b":null,"c":null}"#,
            ],
            [#"{"b":null,"a":null}"#, #"{"b":null,}"#, #"{,"b":null}"#]
        ),
        (
            #"{"allOf": [{"type": "array", "items": {"oneOf": [{"type": "boolean"}, {"type": "string", "maxLength": 1}]}, "minItems": 2}]}"#,
            [#"[true,"é"]"#, #"["","",false]"#], ["[true]", #"["xy",true]"#]
        ),
        (
            #"{"enum": [1, "two", null, {"three": [3.5]}]}"#,
            ["1", #""two""#, #"{"three":[3.5]}"#], ["2"]
        ),
        (
            "{}", [#"{"a":[1,{"b":[[],{}]}],"c":"\u00e9"}"#, "[]", "3", "true"],
            ["[1,]", "{1:2}", "tru", #"["\x"]"#]
        ),
        (
            #"{"type": "object", "properties": {"when": {"type": "string", "format": "date-time"}, "id": {"type": "string", "format": "uuid"}}, "required": ["when"]}"#,
            [
                #"{"when":"2024-02-28T23:59:59Z","id":"123e4567-e89b-12d3-a456-426614174000"}"#,
                #"{"when":"2024-12-31T00:00:00.5+02:00"}"#,
            ],
            [#"{"when":"2024-13-01T00:00:00Z"}"#, #"{"when":"2024-04-31T00:00:00Z"}"#]
        ),
    ]

    private func automaton(
        _ schema: String, _ words: ConstraintWalks.Words
    ) throws -> ConstraintAutomaton {
        try ConstraintAutomaton(
            .jsonSchema(JSON(parsing: schema, source: "schema")), words.vocabulary)
    }

    @Test(arguments: cases.indices)
    func `documents that satisfy a schema are taken, in every tokenization`(index: Int) throws {
        let (schema, good, bad) = Self.cases[index]
        for words in [ConstraintWalks.bytes, ConstraintWalks.smolLM2].compactMap({ $0 }) {
            let automaton = try automaton(schema, words)
            for text in good {
                for tokens in ConstraintWalks.tokenizations(text, words, count: 8) {
                    let refusal = ConstraintWalks.refusal(
                        automaton.makeConstraint(), words, tokens)
                    #expect(refusal == nil, "\(text) in \(tokens)")
                }
            }
            for text in bad {
                for tokens in ConstraintWalks.tokenizations(text, words, count: 8) {
                    let refusal = ConstraintWalks.refusal(
                        automaton.makeConstraint(), words, tokens)
                    #expect(refusal != nil, "\(text) in \(tokens)")
                }
            }
        }
    }

    @Test(arguments: cases.indices)
    func `whatever is chosen of the allowed tokens, the document satisfies the schema`(
        index: Int
    ) throws {
        let schema = try JSON(parsing: Self.cases[index].schema, source: "schema")
        for words in [ConstraintWalks.bytes, ConstraintWalks.smolLM2].compactMap({ $0 }) {
            let automaton = try automaton(Self.cases[index].schema, words)
            for seed in UInt64(0)..<30 {
                let text = try #require(
                    ConstraintWalks.random(automaton.makeConstraint(), words, seed: seed))
                do {
                    let value = try JSON(parsing: text, source: text)
                    #expect(SchemaValidator(root: schema).accepts(value, schema), "\(text)")
                } catch let error as LorikeetError {
                    // Names that the schema leaves free may come twice, as JSON lets them.
                    #expect(error.problem.contains("is repeated"), "\(error)")
                }
            }
        }
    }

    @Test func `a JSON object is any object and nothing else`() throws {
        for words in [ConstraintWalks.bytes, ConstraintWalks.smolLM2].compactMap({ $0 }) {
            let automaton = try ConstraintAutomaton(.jsonObject(), words.vocabulary)
            for seed in UInt64(0)..<30 {
                let text = try #require(
                    ConstraintWalks.random(automaton.makeConstraint(), words, seed: seed))
                do {
                    #expect(try JSON(parsing: text, source: text).object != nil, "\(text)")
                } catch let error as LorikeetError {
                    #expect(error.problem.contains("is repeated"), "\(error)")
                }
            }
            for text in ["[]", "{}}", "{} ", "  {}", "1"] {
                let tokens = words.tokenizer.encode(text, addSpecialTokens: false)
                #expect(
                    ConstraintWalks.refusal(automaton.makeConstraint(), words, tokens) != nil)
            }
        }
    }

    @Test func `a tokenizer that spells spaces and falls back to bytes writes JSON too`() throws {
        let words = ConstraintWalks.words(try TokenizerCases.tokenizer("metaspace"))
        let schema = try JSON(parsing: Self.cases[0].schema, source: "schema")
        let automaton = try automaton(Self.cases[0].schema, words)
        for seed in UInt64(0)..<60 {
            let text = try #require(
                ConstraintWalks.random(automaton.makeConstraint(), words, seed: seed))
            let value = try JSON(parsing: text, source: text)
            #expect(SchemaValidator(root: schema).accepts(value, schema), "\(text)")
        }
    }

    @Test func `blanks end, nesting ends`() throws {
        let words = try #require(ConstraintWalks.bytes)
        let automaton = try ConstraintAutomaton(.jsonObject(), words.vocabulary)
        let blanks = "{\n" + String(repeating: " ", count: 33) + "}"
        #expect(
            ConstraintWalks.refusal(
                automaton.makeConstraint(), words, Array(blanks.utf8.map(Int32.init)))
                != nil)
        let mask = TokenMask(count: words.vocabulary.count)
        let constraint = automaton.makeConstraint()
        for byte in #"{"a":"#.utf8 { constraint.accept(Int32(byte)) }
        var depth = 0
        constraint.writeAllowedTokens(to: mask)
        while mask.contains(Int32(UInt8(ascii: "["))), depth < 1000 {
            constraint.accept(Int32(UInt8(ascii: "[")))
            constraint.writeAllowedTokens(to: mask)
            depth += 1
        }
        #expect((64..<512).contains(depth), "our own parser takes 512 levels, \(depth)")
        for _ in 0..<depth { constraint.accept(Int32(UInt8(ascii: "]"))) }
        constraint.accept(Int32(UInt8(ascii: "}")))
        #expect(constraint.isComplete)
    }

    @Test(arguments: [
        (#"{"not": {}}"#, "\"not\""), (#"{"properties": {"a": {"multipleOf": 3}}}"#, "multipleOf"),
        (#"{"properties": {"a": {"multipleOf": 3}}}"#, "#/properties/a"),
        (#"{"type": "array", "uniqueItems": true}"#, "uniqueItems"),
        (#"{"patternProperties": {}}"#, "patternProperties"), ("false", "false"),
        ("3", "not a schema"),
        (#"{"type": "strin"}"#, "unknown type"), (#"{"pattern": "(?=a)b"}"#, "lookahead"),
        (#"{"pattern": "a\\bc"}"#, "anchor"), (#"{"pattern": "["}"#, "pattern"),
        (#"{"pattern": "a*", "maxLength": 3}"#, "length"), (#"{"minimum": 0.5}"#, "\"minimum\""),
        (#"{"allOf": [{}, {}]}"#, "allOf"), (#"{"anyOf": [{}], "minLength": 1}"#, "minLength"),
        (##"{"$ref": "#"}"##, "$ref"), (##"{"$ref": "#/$defs/x"}"##, "$ref"),
        (#"{"$ref": "http://x/y"}"#, "$ref"),
        (#"{"required": ["a"], "properties": {}}"#, "required"),
        (#"{"type": "integer", "minimum": 3, "maximum": 2}"#, "nothing"),
        (#"{"minItems": 3, "maxItems": 2}"#, "minItems"), (#"{"enum": []}"#, "enum"),
        (#"{"type": "string", "enum": [1]}"#, "enum"), (#"{"if": {}}"#, "\"if\""),
        (
            ##"{"anyOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/b"}]}, "b": {"oneOf": [{"$ref": "#/$defs/a"}, {"type": "null"}]}}}"##,
            "leads to itself"
        ),
        (##"{"properties": {"a": {"$ref": "#"}}, "required": ["a"]}"##, "nothing"),
    ])
    func `what is not followed is refused by name`(schema: String, clue: String) throws {
        let schema = try JSON(parsing: schema, source: "schema")
        let error = #expect(throws: LorikeetError.self) {
            try ConstraintGrammar.jsonSchema(schema, source: "response_format")
        }
        #expect(error?.description.contains(clue) == true, "\(error?.description ?? "")")
        #expect(error?.subject.hasPrefix("response_format") == true)
    }

    // What is not bounded does not end in a day.
    @Test(.timeLimit(.minutes(10)))
    func `hostile schemas are refused or bounded`() throws {
        var deep: JSON = ["type": "integer"]
        for _ in 0..<300 { deep = ["type": "array", "items": deep] }
        let chain = JSON.object(
            JSON.Object(
                uniqueNames: (0..<5000).map { index in
                    ("d\(index)", ["$ref": .string("#/$defs/d\(index + 1)")])
                }))
        let huge = JSON.array((0..<60_000).map { .string("value \($0)") })
        let hostile: [JSON] = [
            deep, ["$ref": "#/$defs/d0", "$defs": chain], ["enum": huge],
            ["type": "string", "pattern": .string(String(repeating: "(a|b)", count: 60_000))],
            ["pattern": "^((((a{1000}){1000}){1000}){1000}){1000}$", "maxLength": 5],
        ]
        for schema in hostile {
            #expect(throws: LorikeetError.self) { try ConstraintGrammar.jsonSchema(schema) }
        }
        // Ambiguous without end: many readings of the same text.
        let words = try #require(ConstraintWalks.bytes)
        for pattern in ["^(a|a|aa)+$", "^(a{0,100}b?){1,100}c$", "^((a{1,50}){1,50}){1,50}$"] {
            guard
                let grammar = try? ConstraintGrammar.jsonSchema([
                    "type": "string", "pattern": .string(pattern),
                ])
            else { continue }
            let constraint = ConstraintAutomaton(grammar, words.vocabulary).makeConstraint()
            let mask = TokenMask(count: words.vocabulary.count)
            constraint.accept(Int32(UInt8(ascii: "\"")))
            for count in 0..<60 {
                constraint.writeAllowedTokens(to: mask)
                #expect(mask.contains(Int32(UInt8(ascii: "a"))), "\(pattern) after \(count)")
                constraint.accept(Int32(UInt8(ascii: "a")))
            }
        }
    }
}

extension JSON.Object {
    fileprivate init(uniqueNames members: [(String, JSON)]) {
        self.init()
        for (name, value) in members { self[name] = value }
    }
}
