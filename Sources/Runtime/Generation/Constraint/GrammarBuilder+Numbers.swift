/// JSON's numbers, of bounded length so that no answer goes on in digits for ever.
extension GrammarBuilder {
    private static let longestInteger = 19
    private static let longestFraction = 20
    /// 10¹⁹ − 1: the largest number of that many digits.
    private static let largestMagnitude: UInt64 = 9_999_999_999_999_999_999

    /// Reads any number: at most 19 digits, 20 after the point, an exponent below 280.
    mutating func number(from state: Int32) throws -> Int32 {
        let whole = try integer(from: state)
        let end = try fraction(from: whole, nonzero: false)
        join(whole, end)
        let e = try digit("eE", from: end)
        let sign = try digit("+-", from: e)
        join(e, sign)
        let exponent = try digits(1...2, from: sign)
        // The largest is 10¹⁹ · 10²⁷⁹: a double holds it.
        let hundreds = try digits(2...2, from: digit("1", from: sign))
        let more = try digits(1...1, from: digit("01234567", from: digit("2", from: sign)))
        let last = try self.state()
        for way in [end, exponent, hundreds, more] { join(way, last) }
        return last
    }

    /// Reads any integer of at most 19 digits.
    mutating func integer(from state: Int32) throws -> Int32 {
        let positive = try literal("-", from: state)
        join(state, positive)
        return try magnitude(0...Self.largestMagnitude, from: positive)
    }

    /// Reads an integer of the range; nil leaves a side open.
    mutating func integer(
        from minimum: Int?, through maximum: Int?, from state: Int32
    ) throws -> Int32 {
        let end = try self.state()
        if maximum ?? 0 >= 0 {
            let range = Self.magnitudes(max(minimum ?? 0, 0), maximum)
            if let range { join(try magnitude(range, from: state), end) }
        }
        if minimum ?? -1 < 0 {
            let range = Self.magnitudes(
                max(maximum.map(Self.negated) ?? 1, 1), minimum.map(Self.negated))
            if let range { join(try magnitude(range, from: literal("-", from: state)), end) }
        }
        return end
    }

    /// Reads a decimal number without exponent between two integers; nil leaves a side open.
    ///
    /// A bound that is `exclusive` is not itself in the range.
    mutating func decimal(
        from minimum: Int?, through maximum: Int?, exclusive: (minimum: Bool, maximum: Bool),
        from state: Int32
    ) throws -> Int32 {
        let end = try self.state()
        if maximum ?? 1 >= 0 {
            // At or above zero: the sign is none, so the smaller bound is the minimum.
            let isOpen = exclusive.minimum && minimum ?? -1 >= 0
            try decimals(
                max(minimum ?? 0, 0), maximum, exclusive: (isOpen, exclusive.maximum), from: state,
                to: end)
        }
        if minimum ?? -1 < 0 {
            let isOpen = exclusive.maximum && maximum ?? 1 <= 0
            // Minus zero is zero: it is left to the other side, which knows whether zero may be.
            try decimals(
                max(maximum.map(Self.negated) ?? 0, 0), minimum.map(Self.negated),
                exclusive: (isOpen || maximum ?? 0 >= 0, exclusive.minimum),
                from: literal("-", from: state), to: end)
        }
        return end
    }

    /// Reads magnitudes from `low` to `high`, with a fraction or without.
    private mutating func decimals(
        _ low: Int, _ high: Int?, exclusive: (low: Bool, high: Bool), from state: Int32,
        to end: Int32
    ) throws {
        // Above `low` and below `high` any fraction may follow; at `high` none but zeros.
        if let range = Self.magnitudes(exclusive.low ? low + 1 : low, high.map { $0 - 1 }) {
            let whole = try magnitude(range, from: state)
            join(whole, end)
            join(try fraction(from: whole, nonzero: false), end)
        }
        if exclusive.low, high ?? .max > low, let range = Self.magnitudes(low, low) {
            join(try fraction(from: magnitude(range, from: state), nonzero: true), end)
        }
        if let high, !exclusive.high, high > low || !exclusive.low, high >= low,
            let range = Self.magnitudes(high, high)
        {
            let whole = try magnitude(range, from: state)
            join(whole, end)
            join(try literal(".0", from: whole), end)
        }
    }

    private static func negated(_ value: Int) -> Int { value == .min ? .max : -value }

    private static func magnitudes(_ low: Int, _ high: Int?) -> ClosedRange<UInt64>? {
        guard low >= 0, high ?? low >= low else { return nil }
        return UInt64(low)...(high.map(UInt64.init) ?? largestMagnitude)
    }

    /// Reads a point and digits, one of which is not zero if `nonzero` says so.
    private mutating func fraction(from state: Int32, nonzero: Bool) throws -> Int32 {
        let point = try literal(".", from: state)
        guard nonzero else { return try digits(1...Self.longestFraction, from: point) }
        let zero = try rule { try $0.digit("0", from: $1) }
        let zeros = try repetition(zero, 0, Self.longestFraction / 2, from: point)
        let one = try digit("123456789", from: zeros)
        return try digits(0...Self.longestFraction / 2, from: one)
    }

    private mutating func digits(_ count: ClosedRange<Int>, from state: Int32) throws -> Int32 {
        var state = state
        let end = try self.state()
        for taken in 0...count.upperBound {
            if taken >= count.lowerBound { join(state, end) }
            if taken < count.upperBound { state = try byte(0x30...0x39, from: state) }
        }
        return end
    }

    /// Reads a whole number of the range without leading zeros.
    private mutating func magnitude(
        _ range: ClosedRange<UInt64>, from state: Int32
    ) throws -> Int32 {
        let end = try self.state()
        var power: UInt64 = 1
        for length in 1...Self.longestInteger {
            let least = length == 1 ? 0 : power
            let most = length == Self.longestInteger ? Self.largestMagnitude : power * 10 - 1
            if range.overlaps(least...most) {
                let part = range.clamped(to: least...most)
                try digits(
                    Array(String(part.lowerBound).utf8)[...],
                    Array(String(part.upperBound).utf8)[...], from: state, to: end)
            }
            if length < Self.longestInteger { power *= 10 }
        }
        return end
    }

    /// Reads the numbers from `low` to `high`, written with as many digits each.
    private mutating func digits(
        _ low: ArraySlice<UInt8>, _ high: ArraySlice<UInt8>, from state: Int32, to end: Int32
    ) throws {
        guard let first = low.first, let last = high.first else { return join(state, end) }
        let (lowRest, highRest) = (low.dropFirst(), high.dropFirst())
        let least = ArraySlice(repeating: UInt8(ascii: "0"), count: lowRest.count)
        let most = ArraySlice(repeating: UInt8(ascii: "9"), count: lowRest.count)
        let isAny = first == UInt8(ascii: "0") && last == UInt8(ascii: "9")
        if isAny, lowRest == least, highRest == most {
            return join(try digits(low.count...low.count, from: state), end)
        }
        if first == last {
            return try digits(lowRest, highRest, from: byte(first...first, from: state), to: end)
        }
        try digits(lowRest, most, from: byte(first...first, from: state), to: end)
        try digits(least, highRest, from: byte(last...last, from: state), to: end)
        if first + 1 < last {
            let middle = try byte(first + 1...last - 1, from: state)
            join(try digits(lowRest.count...lowRest.count, from: middle), end)
        }
    }
}
