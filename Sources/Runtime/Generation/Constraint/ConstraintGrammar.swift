/// A language of byte strings, such as the JSON documents of a schema: what an answer may be.
///
/// It is a recursive transition network (Woods 1970): rules made of states with edges, an edge reads a
/// byte, or nothing, or a whole other rule, once or several times. Made once and shared; a
/// `ConstraintAutomaton` runs it over a vocabulary.
public struct ConstraintGrammar: Sendable {
    /// What leads on from a state.
    enum Edge: Sendable {
        /// Reads one byte of the range.
        case byte(ClosedRange<UInt8>, Int32)
        /// Reads nothing.
        case empty(Int32)
        /// Reads what the rule that begins at a state describes.
        case call(Int32, then: Int32)
        /// Reads the rule from `minimum` to `maximum` times; a state with this edge has no other.
        case repetition(Int32, minimum: Int32, maximum: Int32?, then: Int32)
    }

    /// The state that ends every rule.
    static let end: Int32 = 0
    /// How many rules may be open within each other; a JSON value within another takes two to four.
    static let maximumDepth: Int32 = 256

    /// The edges of each state, without those that lead to no end.
    private(set) var states: [[Edge]]
    /// Where the text begins.
    let start: Int32
    /// The rule of one character of a JSON string.
    let textCharacter: Int32
    /// How deep within further rules the shortest way from a state to the end of its rule goes.
    let heights: [Int32]
    /// The class of each byte: bytes of one class are told apart by no edge.
    let classOfByte: [UInt8]
    /// A byte of each class.
    let byteOfClass: [UInt8]

    /// Takes what a builder has made.
    ///
    /// - Throws: `.invalidArgument` when nothing is described by `start`.
    init(_ builder: GrammarBuilder, start: Int32, textCharacter: Int32) throws {
        states = builder.states
        self.start = start
        self.textCharacter = textCharacter
        let heights = Self.heights(of: builder.states)
        guard heights[Int(start)] <= Self.maximumDepth else {
            throw LorikeetError(
                .invalidArgument, builder.source,
                "nothing can satisfy it, or only what is nested too deeply",
                expected: "at most \(Self.maximumDepth) rules within each other")
        }
        self.heights = heights.map { min($0, Self.maximumDepth + 1) }
        for index in states.indices {
            states[index].removeAll { Self.height(of: $0, heights) > Self.maximumDepth }
        }
        var begins = [Bool](repeating: false, count: 257)
        begins[0] = true
        for case .byte(let range, _) in states.joined() {
            begins[Int(range.lowerBound)] = true
            begins[Int(range.upperBound) + 1] = true
        }
        var classes: [UInt8] = []
        var representatives: [UInt8] = []
        for byte in UInt8.min...UInt8.max {
            if begins[Int(byte)] { representatives.append(byte) }
            classes.append(UInt8(representatives.count - 1))
        }
        classOfByte = classes
        byteOfClass = representatives
    }

    /// The height of the way over `edge`; `.max` where no end is reached.
    private static func height(of edge: Edge, _ heights: [Int32]) -> Int32 {
        func inner(_ rule: Int32) -> Int32 {
            heights[Int(rule)] == .max ? .max : heights[Int(rule)] + 1
        }
        switch edge {
        case .byte(_, let target), .empty(let target): return heights[Int(target)]
        case .call(let rule, let target): return max(inner(rule), heights[Int(target)])
        case .repetition(let rule, let minimum, _, let target):
            return minimum == 0 ? heights[Int(target)] : max(inner(rule), heights[Int(target)])
        }
    }

    /// Knuth's generalization of Dijkstra's algorithm: states get their heights in rising order.
    private static func heights(of states: [[Edge]]) -> [Int32] {
        var comesFrom = [[Int32]](repeating: [], count: states.count)
        for (index, edges) in states.enumerated() {
            for edge in edges {
                switch edge {
                case .byte(_, let target), .empty(let target):
                    comesFrom[Int(target)].append(Int32(index))
                case .call(let rule, let target), .repetition(let rule, _, _, let target):
                    comesFrom[Int(rule)].append(Int32(index))
                    comesFrom[Int(target)].append(Int32(index))
                }
            }
        }
        var heights = [Int32](repeating: .max, count: states.count)
        heights[Int(end)] = 0
        var now = comesFrom[Int(end)]
        for level in Int32(0)...maximumDepth {
            var later: [Int32] = []
            while let state = now.popLast() {
                guard heights[Int(state)] == .max else { continue }
                let least = states[Int(state)].lazy.map { height(of: $0, heights) }.min() ?? .max
                if least <= level {
                    heights[Int(state)] = level
                    now += comesFrom[Int(state)]
                } else if least == level + 1 {
                    later.append(state)
                }
            }
            now = later
        }
        return heights
    }
}
