/// What `GrammarRuns` has found.
struct GrammarTables {
    /// A place in the grammar: a state, and the rules that are open around it.
    private struct Place: Hashable, Comparable {
        var state: Int32
        var stack: Int32

        static func < (a: Place, b: Place) -> Bool {
            a.state != b.state ? a.state < b.state : a.stack < b.stack
        }
    }

    /// An open rule: where it goes on when it ends, and the stack below.
    private struct Frame: Hashable {
        var below: Int32
        var state: Int32
        /// How often a repetition's rule has been read; −1 for a rule that is read once.
        var count: Int32
        var depth: Int32
    }

    private struct Places {
        var places: [Place]
        var isComplete: Bool
    }

    private static let empty: Int32 = 0
    private static let unknown: Int32 = -2
    private static let rejected: Int32 = -1
    // Ambiguous grammars have many readings of a text; following some of them keeps what is written
    // within the language, for each can be completed.
    private static let maximumPlaces = 1024
    private static let maximumVisits = 8192
    // 64 MB of transitions, at 256 bytes a set.
    private static let maximumSets = 250_000
    // 4 MB for a vocabulary of 128,000 tokens.
    private static let maximumMasks = 256

    private let grammar: ConstraintGrammar
    private let vocabulary: ConstraintVocabulary
    private var frames: [Frame] = [Frame(below: 0, state: 0, count: -1, depth: 0)]
    private var frameNumbers: [Frame: Int32] = [:]
    private var sets: [Places] = []
    private var setNumbers: [[Place]: Int32] = [:]
    // The set after each class of bytes: [sets × classes]
    private var transitions: [Int32] = []
    private var masks: [Int32: [UInt64]] = [:]
    // Of the walk through the trie: the set before each depth
    private var path: [Int32]
    // Of the closure being made
    private var seen: Set<Place> = []
    private var waiting: [Place] = []
    private var found: [Place] = []
    private var reachesEnd = false
    private var visits = 0

    /// Begins with the set at the text's beginning.
    init(_ grammar: ConstraintGrammar, _ vocabulary: ConstraintVocabulary) {
        self.grammar = grammar
        self.vocabulary = vocabulary
        path = Array(repeating: 0, count: vocabulary.trie.depth + 1)
        beginClosure()
        visit(grammar.start, Self.empty)
        _ = endClosure()
    }

    var isFull: Bool { sets.count > Self.maximumSets }

    func isComplete(_ set: Int32) -> Bool { sets[Int(set)].isComplete }

    /// The set after a byte; negative when the grammar does not allow it.
    mutating func next(_ set: Int32, _ byte: UInt8) -> Int32 {
        let kind = grammar.classOfByte[Int(byte)]
        let index = Int(set) * grammar.byteOfClass.count + Int(kind)
        let known = transitions[index]
        if known != Self.unknown { return known }
        let next = step(set, grammar.byteOfClass[Int(kind)])
        transitions[index] = next
        return next
    }

    // MARK: - Closure

    private mutating func step(_ set: Int32, _ byte: UInt8) -> Int32 {
        beginClosure()
        for place in sets[Int(set)].places {
            for case .byte(let range, let target) in grammar.states[Int(place.state)]
            where range.contains(byte) {
                visit(target, place.stack)
            }
        }
        return endClosure()
    }

    private mutating func beginClosure() {
        seen.removeAll(keepingCapacity: true)
        found = []
        reachesEnd = false
        visits = 0
    }

    /// Follows all edges that read nothing, and numbers the set of places that is reached.
    private mutating func endClosure() -> Int32 {
        while let place = waiting.popLast() {
            if place.state == ConstraintGrammar.end {
                leave(place.stack)
                continue
            }
            var readsByte = false
            for edge in grammar.states[Int(place.state)] {
                switch edge {
                case .byte: readsByte = true
                case .empty(let target): visit(target, place.stack)
                case .call(let rule, let target):
                    enter(rule, then: target, count: -1, place.stack)
                case .repetition: repeatRule(at: place.state, count: 0, place.stack)
                }
            }
            if readsByte, found.count < Self.maximumPlaces { found.append(place) }
        }
        guard reachesEnd || !found.isEmpty else { return Self.rejected }
        found.sort()
        // The end is a place too: two sets that differ in it alone are two.
        if reachesEnd { found.append(Place(state: ConstraintGrammar.end, stack: Self.empty)) }
        if let number = setNumbers[found] { return number }
        let number = Int32(sets.count)
        setNumbers[found] = number
        sets.append(Places(places: found, isComplete: reachesEnd))
        transitions += repeatElement(Self.unknown, count: grammar.byteOfClass.count)
        return number
    }

    private mutating func visit(_ state: Int32, _ stack: Int32) {
        visits += 1
        guard visits < Self.maximumVisits,
            frames[Int(stack)].depth + grammar.heights[Int(state)]
                <= ConstraintGrammar.maximumDepth,
            seen.insert(Place(state: state, stack: stack)).inserted
        else { return }
        waiting.append(Place(state: state, stack: stack))
    }

    /// A rule has ended.
    private mutating func leave(_ stack: Int32) {
        guard stack != Self.empty else {
            reachesEnd = true
            return
        }
        let frame = frames[Int(stack)]
        if frame.count < 0 {
            visit(frame.state, frame.below)
        } else {
            repeatRule(at: frame.state, count: frame.count + 1, frame.below)
        }
    }

    private mutating func repeatRule(at state: Int32, count: Int32, _ stack: Int32) {
        guard
            case .repetition(let rule, let minimum, let maximum, let target) =
                grammar.states[Int(state)].first
        else { return }
        if count >= minimum { visit(target, stack) }
        if let maximum {
            if count < maximum { enter(rule, then: state, count: count, stack) }
        } else {
            // Without a maximum it does not matter how far the minimum is exceeded.
            enter(rule, then: state, count: min(count, minimum), stack)
        }
    }

    private mutating func enter(_ rule: Int32, then state: Int32, count: Int32, _ stack: Int32) {
        let frame = Frame(
            below: stack, state: state, count: count, depth: frames[Int(stack)].depth + 1)
        // What follows must fit as well: the stack below is as deep as the frame's own place.
        let following = count < 0 ? grammar.heights[Int(state)] : 0
        guard frame.depth + grammar.heights[Int(rule)] <= ConstraintGrammar.maximumDepth,
            frame.depth - 1 + following <= ConstraintGrammar.maximumDepth
        else { return }
        let number: Int32
        if let known = frameNumbers[frame] {
            number = known
        } else {
            number = Int32(frames.count)
            frames.append(frame)
            frameNumbers[frame] = number
        }
        visit(rule, number)
    }

    // MARK: - Masks

    /// Writes the tokens that may follow a set; end tokens where the text may end, or nothing else can.
    mutating func writeAllowedTokens(after set: Int32, to mask: TokenMask) {
        precondition(mask.count == vocabulary.count, "a mask over \(mask.count) tokens")
        if let known = masks[set] {
            mask.words = known
            return
        }
        for index in mask.words.indices { mask.words[index] = 0 }
        if let length = plainLength(set) {
            vocabulary.allowPlain(upTo: length, in: &mask.words)
            walk(vocabulary.specialTrie, from: set, &mask.words)
        } else {
            walk(vocabulary.trie, from: set, &mask.words)
        }
        if isComplete(set) || mask.words.allSatisfy({ $0 == 0 }) {
            for token in vocabulary.endTokens { mask.insert(token) }
        }
        if masks.count >= Self.maximumMasks { masks.removeAll(keepingCapacity: true) }
        masks[set] = mask.words
    }

    /// How many characters of plain text may follow, where that is known without trying tokens: within a
    /// free JSON string.
    private func plainLength(_ set: Int32) -> Int? {
        var longest: Int?
        var isAlone = true
        for place in sets[Int(set)].places {
            let frame = frames[Int(place.stack)]
            if place.state == grammar.textCharacter, frame.count >= 0,
                case .repetition(_, _, let maximum, _) = grammar.states[Int(frame.state)].first
            {
                longest = max(longest ?? 0, maximum.map { Int($0 - frame.count) } ?? .max)
            } else if !readsNoPlainText(place) {
                isAlone = false
            }
        }
        // Beside something else a plain token may be allowed by that.
        return longest.flatMap { isAlone || $0 >= vocabulary.longestPlain ? $0 : nil }
    }

    /// Whether all that a place reads is a quote, as the end of a string does.
    private func readsNoPlainText(_ place: Place) -> Bool {
        grammar.states[Int(place.state)].allSatisfy { edge in
            if case .byte(let range, _) = edge {
                range == UInt8(ascii: "\"")...UInt8(ascii: "\"")
            } else {
                true
            }
        }
    }

    private mutating func walk(_ trie: TokenTrie, from set: Int32, _ words: inout [UInt64]) {
        var index = 0
        path[0] = set
        while index < trie.nodes.count {
            let node = trie.nodes[index]
            let reached = next(path[Int(node.depth)], node.byte)
            guard reached >= 0 else {
                index = Int(node.end)
                continue
            }
            path[Int(node.depth) + 1] = reached
            for position in node.firstToken..<node.tokenEnd {
                let token = trie.tokens[Int(position)]
                words[Int(token) / 64] |= 1 << UInt64(token % 64)
            }
            index += 1
        }
    }
}
