/// An expression of the template language.
indirect enum JinjaExpression: Sendable {
    case none
    case bool(Bool)
    case int(Int)
    case float(Double)
    case string(String)
    case name(String)
    case list([JinjaExpression])
    case tuple([JinjaExpression])
    case dictionary([(key: JinjaExpression, value: JinjaExpression)])
    case attribute(JinjaExpression, String)
    case item(JinjaExpression, JinjaExpression)
    case slice(JinjaExpression, JinjaSlice)
    case call(JinjaExpression, JinjaCall)
    /// A filter; nil stands for the text of the block that the filter is applied to.
    case filter(JinjaExpression?, String, JinjaCall)
    case test(JinjaExpression, String, JinjaCall)
    case not(JinjaExpression)
    case sign(JinjaExpression, negative: Bool)
    case and(JinjaExpression, JinjaExpression)
    case or(JinjaExpression, JinjaExpression)
    case arithmetic(JinjaArithmetic, JinjaExpression, JinjaExpression)
    case concatenation([JinjaExpression])
    /// a < b <= c: each operand is evaluated once.
    case comparison(JinjaExpression, [JinjaComparand])
    case conditional(JinjaExpression, test: JinjaExpression, otherwise: JinjaExpression?)
}

/// One step of a comparison: its operator and what stands to its right.
struct JinjaComparand: Sendable {
    var comparison: JinjaComparison
    var operand: JinjaExpression
}

/// The bounds of `x[start:stop:step]`.
struct JinjaSlice: Sendable {
    var start: JinjaExpression?
    var stop: JinjaExpression?
    var step: JinjaExpression?
}

/// The arguments as written: `f(a, b, *rest, key=c, **more)`.
struct JinjaCall: Sendable {
    var positional: [JinjaExpression] = []
    var keywords: [(name: String, value: JinjaExpression)] = []
    var spread: JinjaExpression?
    var spreadKeywords: JinjaExpression?
}

enum JinjaArithmetic: String, Sendable {
    case add = "+"
    case subtract = "-"
    case multiply = "*"
    case divide = "/"
    case floorDivide = "//"
    case modulo = "%"
    case power = "**"
}

enum JinjaComparison: String, Sendable {
    case equal = "=="
    case notEqual = "!="
    case less = "<"
    case lessOrEqual = "<="
    case greater = ">"
    case greaterOrEqual = ">="
    case contained = "in"
    case notContained = "not in"
}

/// What a value is assigned to.
indirect enum JinjaTarget: Sendable {
    case name(String)
    case attribute(String, String)
    case tuple([JinjaTarget])
}

/// A statement and the line it begins on, for errors.
struct JinjaStatement: Sendable {
    var line: Int
    var kind: Kind

    enum Kind: Sendable {
        case text(String)
        case output(JinjaExpression)
        case condition(
            [(test: JinjaExpression, body: [JinjaStatement])], otherwise: [JinjaStatement])
        case loop(JinjaLoop)
        case set(JinjaTarget, JinjaExpression)
        case setBlock(JinjaTarget, filter: JinjaExpression?, body: [JinjaStatement])
        case macro(JinjaMacro)
        case callBlock(JinjaExpression, JinjaCall, caller: JinjaMacro)
        case filterBlock(JinjaExpression, body: [JinjaStatement])
        case with([(target: JinjaTarget, value: JinjaExpression)], body: [JinjaStatement])
        /// `{% generation %}`: marks what the assistant wrote, changes nothing.
        case generation([JinjaStatement])
        case `break`
        case `continue`
    }
}

/// `{% for target in iterable if test %}body{% else %}otherwise{% endfor %}`.
struct JinjaLoop: Sendable {
    var target: JinjaTarget
    var iterable: JinjaExpression
    var test: JinjaExpression?
    var body: [JinjaStatement]
    var otherwise: [JinjaStatement]
}

/// A macro, or the body of a call block as the macro `caller`.
struct JinjaMacro: Sendable {
    var name: String
    var parameters: [(name: String, fallback: JinjaExpression?)]
    var body: [JinjaStatement]
    /// Extra arguments are accepted by a macro that names the variable which receives them.
    var namesVarargs: Bool
    var namesKwargs: Bool
    var namesCaller: Bool
}
