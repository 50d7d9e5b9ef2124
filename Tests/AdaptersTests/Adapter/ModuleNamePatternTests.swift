import LorikeetAdapters
import LorikeetRuntime
import Testing

struct ModuleNamePatternTests {
    // Each verdict is Python's: bool(re.fullmatch(pattern, name)).
    @Test(arguments: [
        ("q_proj", "q_proj", true),
        ("q_proj", "xq_proj", false),
        (".*\\.(q|k)_proj", "model.layers.0.self_attn.k_proj", true),
        (".*\\.(q|k)_proj", "model.layers.0.self_attn.v_proj", false),
        ("model.layers.\\d+.mlp.up_proj", "model.layers.12.mlp.up_proj", true),
        ("model\\.layers\\.[0-4]\\.mlp\\.(?:up|down)_proj", "model.layers.5.mlp.up_proj", false),
        ("[^.]*", "a.b", false),
        ("[^.]*", "ab", true),
        ("[]a-]+", "]-a", true),
        ("a{2,3}", "a", false),
        ("a{2,3}", "aaa", true),
        ("a{2,3}", "aaaa", false),
        ("a{2}", "aa", true),
        ("a{2,}", "aaaaa", true),
        ("a{,2}", "", true),
        ("a{x}", "a{x}", true),
        ("^a$", "a", true),
        ("(^|b)a", "ba", true),
        ("b^a", "ba", false),
        ("a??b+?", "bbb", true),
        ("(?P<n>a|)b", "b", true),
        ("", "", true),
        ("()*a", "a", true),
        ("\\w\\W\\s\\S\\D", "a. xy", true),
        ("a|b|cd", "cd", true),
        ("a|b|cd", "ad", false),
    ])
    func `a pattern matches what Python's does`(pattern: String, name: String, matches: Bool) throws
    {
        #expect(try ModuleNamePattern(pattern, source: "test").matches(name) == matches)
    }

    @Test(arguments: [
        "(", ")", "a)", "*a", "[a", "[b-a]", "a{3,2}", "a\\", "(?=a)", "(?!a)", "(?P=n)", "\\b",
        "\\1",
        "a**", "a{99999}", "(a{4000}){4000}", String(repeating: "(", count: 100),
        String(repeating: "a", count: 5000),
    ])
    func `what is no supported pattern is refused`(pattern: String) throws {
        let error = try failure { _ = try ModuleNamePattern(pattern, source: "test") }
        #expect([.malformed, .unsupported].contains(error.code))
    }

    @Test(.timeLimit(.minutes(5)))
    func `a pattern that hangs a backtracking matcher does not hang this one`() throws {
        // 2^200 ways to split the letters between the loops; the limit is only for a failure.
        let pattern = try ModuleNamePattern("((a+)+)+b", source: "test")
        #expect(!pattern.matches(String(repeating: "a", count: 200)))
    }
}
