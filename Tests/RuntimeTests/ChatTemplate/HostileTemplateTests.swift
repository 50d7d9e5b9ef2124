import LorikeetRuntime
import OrderedCollections
import Testing

/// Templates come with models, so from strangers: each of these must end in an error, soon.
@Suite struct HostileTemplateTests {
    static let hostile: [(name: String, template: String)] = [
        (
            "an endless walk",
            "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
        ),
        ("a huge range", "{% for a in range(1000000000) %}{% endfor %}"),
        ("a huge string", "{{ 'abcdefgh' * 1000000000 }}"),
        ("a string past 64 bits", "{{ 'abcdefgh' * 4611686018427387904 }}"),
        ("a huge list", "{{ ([0] * 1000000000) | length }}"),
        ("nothing, many times", "{{ '' * 9000000000000000000 }}"),
        (
            "doubling text",
            "{% set ns = namespace(x='a') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x }}"
        ),
        (
            "doubling lists",
            "{% set ns = namespace(x=['a']) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}"
        ),
        ("shared text", "{{ (['a' * 1000000] * 10000) | join }}"),
        ("shared text as JSON", "{{ (['a' * 1000000] * 10000) | tojson }}"),
        ("shared text printed", "{{ ['a' * 1000000] * 10000 }}"),
        ("growing by replacement", "{{ ('a' * 1000000) | replace('a', 'b' * 100000) }}"),
        ("growing between letters", "{{ ('a' * 1000000).replace('', 'b' * 100000) }}"),
        ("growing by joining", "{{ ('b' * 1000000).join(['a'] * 100000) }}"),
        ("wide padding", "{{ 'a'.ljust(9000000000) }}"),
        ("wide formats", "{{ '%9000000000d' % 1 }}"),
        ("wide centre", "{{ 'a' | center(9223372036854775807) }}"),
        ("wide indent", "{{ 'a\nb' | indent(9223372036854775807) }}"),
        ("wide JSON", "{{ [1] | tojson(indent=9223372036854775807) }}"),
        ("wide batches", "{{ [1] | batch(9223372036854775807, 0) | list }}"),
        ("a macro in itself", "{% macro f(x) %}{{ f(x ~ 'a') }}{% endmacro %}{{ f('a') }}"),
        (
            "two macros in each other",
            "{% macro f() %}{{ g() }}{% endmacro %}{% macro g() %}{% if true %}{% for x in [1] %}{{ f() }}{% endfor %}{% endif %}{% endmacro %}{{ f() }}"
        ),
        (
            "macros that fan out",
            "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(40) }}"
        ),
        (
            "a value ever deeper",
            "{% set ns = namespace(x=[]) %}{% for i in range(90000) %}{% set ns.x = [ns.x] %}{% endfor %}"
        ),
        (
            "ever deeper through batch",
            "{% set ns = namespace(x=[1]) %}{% for i in range(90000) %}{% set ns.x = ns.x | batch(1) | list %}{% endfor %}"
        ),
        (
            "parentheses",
            "{{ " + String(repeating: "(", count: 100_000) + "1"
                + String(repeating: ")", count: 100_000) + " }}"
        ),
        ("brackets", "{{ " + String(repeating: "[", count: 100_000)),
        ("nots", "{{ " + String(repeating: "not ", count: 100_000) + "1 }}"),
        ("signs", "{{ " + String(repeating: "-", count: 100_000) + "1 }}"),
        ("a chain of sums", "{{ 1" + String(repeating: " + 1", count: 100_000) + " }}"),
        ("a chain of attributes", "{{ a" + String(repeating: ".a", count: 100_000) + " }}"),
        ("a chain of filters", "{{ a" + String(repeating: " | upper", count: 100_000) + " }}"),
        ("a chain of ifs", "{{ 1" + String(repeating: " if 1 else 1", count: 100_000) + " }}"),
        ("a chain of ands", "{{ 1" + String(repeating: " and 1", count: 100_000) + " }}"),
        ("a chain of calls", "{{ a" + String(repeating: "()", count: 100_000) + " }}"),
        ("blocks in blocks", String(repeating: "{% if 1 %}", count: 100_000)),
        ("tuples of targets", "{% for " + String(repeating: "(", count: 100_000) + " in x %}"),
        ("a big power", "{{ 10 ** 100 }}"),
        ("an integer past 64 bits", "{{ 9223372036854775807 + 1 }}"),
        ("a literal past 64 bits", "{{ 9223372036854775808 }}"),
        ("the least integer by -1", "{{ (0 - 9223372036854775807 - 1) // -1 }}"),
        ("the least integer modulo -1", "{{ (0 - 9223372036854775807 - 1) % -1 }}"),
        ("the least integer's size", "{{ (0 - 9223372036854775807 - 1) | abs }}"),
        ("a nul and a lone quote", "{{ '\0 }}"),
    ]

    @Test(arguments: hostile.map(\.name))
    func `a hostile template ends in an error`(name: String) throws {
        let template = try #require(Self.hostile.first { $0.name == name }?.template)
        do {
            let text = try JinjaTemplate(template, name: "hostile").render([:])
            Issue.record("rendered \(text.utf8.count) bytes")
        } catch let error as LorikeetError {
            #expect(error.code == .malformed, "\(error)")
        }
    }

    @Test func `the deepest template within the bounds fits the stack`() throws {
        // a parenthesis is two levels of the parser's 100, beside the two around it
        let open = String(repeating: "(1 + ", count: 48)
        let deep = "{{ " + open + "1" + String(repeating: ")", count: 48) + " }}"
        #expect(try JinjaTemplate(deep, name: "deep").render([:]) == "49")
        let blocks =
            String(repeating: "{% if 1 %}", count: 95) + "x"
            + String(repeating: "{% endif %}", count: 95)
        #expect(try JinjaTemplate(blocks, name: "deep").render([:]) == "x")
        let value =
            "{% set ns = namespace(x=1) %}{% for i in range(190) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x | tojson }}"
        #expect(
            try JinjaTemplate(value, name: "deep").render([:])
                == String(repeating: "[", count: 190) + "1" + String(repeating: "]", count: 190))
    }

    @Test(arguments: 0..<300)
    func `a damaged template never crashes`(seed: Int) throws {
        let source = """
            {%- macro f(x, y=2) -%}{{ x ~ y | upper }}{%- endmacro %}{# note #}
            {% for m in messages if m.role != 'tool' %}{{ f(m['content'][::-1], y=[1, 'a', {'k': 2.5}]) }}
            {% if loop.first and not m.x is defined %}{{ "a\\n" * 3 }}{% else %}{% raw %}{{ }}{% endraw %}{% endif %}
            {% set ns = namespace(i=0) %}{% set ns.i = ns.i + 1 %}{{ m | tojson(indent=2) }}{% endfor %}
            """
        // a linear congruential sequence: the damage is the same in every run
        var state = UInt64(seed) &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        func next(_ bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % bound
        }
        var bytes = Array(source.utf8)
        for _ in 0...next(4) {
            let position = next(bytes.count)
            switch next(3) {
            case 0: bytes.remove(at: position)
            case 1: bytes[position] = Array("{}%()[]'\"|.-+#,:=~*".utf8)[next(19)]
            default: bytes.insert(bytes[next(bytes.count)], at: position)
            }
        }
        let message = JinjaValue(.object(["role": "user", "content": "hi"]))
        do {
            let template = try JinjaTemplate(
                String(decoding: bytes, as: UTF8.self), name: "damaged")
            let text = try template.render(["messages": .list([message])])
            #expect(text.utf8.count < 1000)
        } catch let error as LorikeetError {
            #expect(error.subject == "damaged")
        }
    }
}
