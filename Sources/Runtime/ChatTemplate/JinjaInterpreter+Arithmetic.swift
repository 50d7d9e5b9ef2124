import Foundation

/// Python's arithmetic on numbers, strings and lists.
extension JinjaInterpreter {
    func signed(_ value: JinjaValue, negative: Bool) throws -> JinjaValue {
        if let integer = value.integer {
            return .int(negative ? try checked(0.subtractingReportingOverflow(integer)) : integer)
        }
        let number = try value.requireNumber(negative ? "-" : "+")
        return .float(negative ? -number : number)
    }

    func arithmetic(
        _ symbol: JinjaArithmetic, _ left: JinjaValue, _ right: JinjaValue
    ) throws
        -> JinjaValue
    {
        for case .undefined(let undefined) in [left, right] {
            throw JinjaFailure(undefined.problem)
        }
        if let left = left.integer, let right = right.integer {
            return try integers(symbol, left, right)
        }
        if let left = left.number, let right = right.number {
            return try floats(symbol, left, right)
        }
        switch (symbol, left, right) {
        case (.add, .string(let left), .string(let right)):
            try spend(bytes: left.utf8.count + right.utf8.count)
            return .string(left + right)
        case (.add, .list(let left), .list(let right)):
            try spend(bytes: 8 * (left.count + right.count))
            return .list(left + right)
        case (.add, .tuple(let left), .tuple(let right)):
            try spend(bytes: 8 * (left.count + right.count))
            return .tuple(left + right)
        case (.multiply, _, _):
            if let count = right.integer, let value = try repeated(left, count) { return value }
            if let count = left.integer, let value = try repeated(right, count) { return value }
        case (.modulo, .string(let format), _):
            return .string(try PythonFormat.percent(format, right, self))
        default: break
        }
        throw JinjaFailure(
            "unsupported operand types for \(symbol.rawValue): '\(left.typeName)' and '\(right.typeName)'"
        )
    }

    private func repeated(_ value: JinjaValue, _ count: Int) throws -> JinjaValue? {
        let count = max(0, count)
        switch value {
        case .string(let text):
            try spend(repeating: text.utf8.count, count)
            return .string(String(repeating: text, count: count))
        case .list(let elements):
            try spend(repeating: 8 * elements.count, count)
            return .list(Array(repeatElement(elements, count: count).joined()))
        case .tuple(let elements):
            try spend(repeating: 8 * elements.count, count)
            return .tuple(Array(repeatElement(elements, count: count).joined()))
        default: return nil
        }
    }

    private func spend(repeating bytes: Int, _ count: Int) throws {
        let (total, isOver) = bytes.multipliedReportingOverflow(by: count)
        // an empty value repeated makes nothing but takes its steps
        try spend(bytes: isOver ? .max : max(total, count))
    }

    private func checked(_ result: (partialValue: Int, overflow: Bool)) throws -> Int {
        guard !result.overflow else { throw JinjaFailure("an integer past 64 bits") }
        return result.partialValue
    }

    private func integers(_ symbol: JinjaArithmetic, _ left: Int, _ right: Int) throws -> JinjaValue
    {
        switch symbol {
        case .add: return .int(try checked(left.addingReportingOverflow(right)))
        case .subtract: return .int(try checked(left.subtractingReportingOverflow(right)))
        case .multiply: return .int(try checked(left.multipliedReportingOverflow(by: right)))
        case .divide:
            guard right != 0 else { throw JinjaFailure("division by zero") }
            return .float(Double(left) / Double(right))
        case .floorDivide, .modulo:
            guard right != 0 else { throw JinjaFailure("integer division or modulo by zero") }
            let quotient = try checked(left.dividedReportingOverflow(by: right))
            let remainder = left % right
            // Python rounds down, and the remainder has the divisor's sign
            let isRoundedUp = remainder != 0 && (remainder < 0) != (right < 0)
            if symbol == .modulo { return .int(isRoundedUp ? remainder + right : remainder) }
            return .int(isRoundedUp ? quotient - 1 : quotient)
        case .power:
            guard right >= 0 else {
                guard left != 0 else {
                    throw JinjaFailure("0 cannot be raised to a negative power")
                }
                return .float(pow(Double(left), Double(right)))
            }
            return .int(try power(left, right))
        }
    }

    private func power(_ base: Int, _ exponent: Int) throws -> Int {
        var result = 1
        var factor = base
        var exponent = exponent
        while true {
            if exponent & 1 == 1 {
                result = try checked(result.multipliedReportingOverflow(by: factor))
            }
            exponent >>= 1
            guard exponent > 0 else { return result }
            factor = try checked(factor.multipliedReportingOverflow(by: factor))
        }
    }

    private func floats(
        _ symbol: JinjaArithmetic, _ left: Double, _ right: Double
    ) throws -> JinjaValue {
        switch symbol {
        case .add: return .float(left + right)
        case .subtract: return .float(left - right)
        case .multiply: return .float(left * right)
        case .power:
            let value = pow(left, right)
            guard !value.isNaN || left.isNaN || right.isNaN else {
                throw JinjaFailure("a power that is no real number")
            }
            return .float(value)
        case .divide, .floorDivide, .modulo:
            guard right != 0 else { throw JinjaFailure("float division by zero") }
            if symbol == .divide { return .float(left / right) }
            if symbol == .floorDivide { return .float((left / right).rounded(.down)) }
            let remainder = left.truncatingRemainder(dividingBy: right)
            return .float(
                remainder != 0 && (remainder < 0) != (right < 0) ? remainder + right : remainder)
        }
    }
}
