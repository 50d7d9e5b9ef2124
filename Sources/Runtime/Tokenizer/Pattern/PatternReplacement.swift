/// Replaces every match of a pattern by fixed bytes.
struct PatternReplacement: Sendable {
    let pattern: Pattern
    let content: [UInt8]

    func apply(to text: [UInt8]) -> [UInt8] {
        text.withUnsafeBufferPointer { buffer in
            var output: [UInt8] = []
            var done = 0
            pattern.forEachMatch(in: buffer) { match in
                output += buffer[done..<match.lowerBound]
                output += content
                done = match.upperBound
            }
            output += buffer[done...]
            return output
        }
    }
}

extension Pattern {
    /// Visits the matches in `text` from left to right; an empty match right after another is passed over.
    package func forEachMatch(in text: UnsafeBufferPointer<UInt8>, _ body: (Range<Int>) -> Void) {
        var matcher = PatternMatcher(self, in: text)
        var position = 0
        var lastEnd = -1
        while let match = matcher.firstMatch(from: position) {
            if !match.isEmpty || match.upperBound != lastEnd {
                body(match)
                lastEnd = match.upperBound
            }
            position = match.upperBound
            if match.isEmpty {
                guard position < text.count else { return }
                position += text.scalarLength(at: position)
            }
        }
    }
}
