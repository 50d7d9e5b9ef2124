/// Cuts at the matches of a pattern.
struct SplitPreTokenizer: PreTokenizer {
    private let pattern: Pattern
    private let behavior: SplitBehavior
    private let isInverted: Bool

    init(_ section: TokenizerSection) throws {
        pattern = try section.pattern()
        behavior = try SplitBehavior(section)
        isInverted = try section.bool("invert", default: false)
    }

    init(pattern: Pattern, behavior: SplitBehavior, isInverted: Bool = false) {
        self.pattern = pattern
        self.behavior = behavior
        self.isInverted = isInverted
    }

    /// `Whitespace`: runs of word characters and runs of what is neither word nor space.
    static func words(_ section: TokenizerSection) throws -> SplitPreTokenizer {
        SplitPreTokenizer(
            pattern: try Pattern(
                #"[\w\u200C\u200D]+|[^\w\u200C\u200D\s]+"#, source: section.source),
            behavior: .removed, isInverted: true)
    }

    func apply(to text: inout PreTokenizedText) {
        text.split(behavior, inverted: isInverted) { pattern.forEachMatch(in: $0, $1) }
    }
}
