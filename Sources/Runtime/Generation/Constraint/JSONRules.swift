/// The rules of JSON (RFC 8259) that schemas are built from.
///
/// White space is what `json.dumps` and pretty printers write, and bounded: nothing, a space, or a line
/// break with its indentation, so that no answer goes on in blanks for ever.
struct JSONRules {
    /// Nothing, a space, or a line break and at most 32 blanks.
    let space: Int32
    /// One character within a string, written out or escaped; half a surrogate pair is none.
    let textCharacter: Int32
    /// Any value.
    let value: Int32
    /// Any object.
    let object: Int32
    /// Any array.
    let array: Int32

    /// Writes the rules into `builder`.
    init(_ builder: inout GrammarBuilder) throws {
        let blank = try builder.rule { builder, start in
            let tab = try builder.byte(0x09...0x09, from: start)
            builder.add(.byte(0x20...0x20, tab), to: start)
            return tab
        }
        let space = try builder.rule { builder, start in
            let next = try builder.byte(0x20...0x20, from: start)
            let line = try builder.byte(0x0A...0x0A, from: start)
            builder.join(try builder.repetition(blank, 0, 32, from: line), next)
            builder.join(start, next)
            return next
        }
        let textCharacter = try builder.rule(Self.textCharacter)
        self.space = space
        self.textCharacter = textCharacter
        let value = try builder.state()
        self.value = value
        let member = try builder.rule { builder, start in
            let name = try builder.text(textCharacter, 0, nil, from: start)
            return try builder.memberValue(value, from: name)
        }
        object = try builder.rule { builder, start in
            try builder.list("{", "}", member, 0, nil, space: space, from: start)
        }
        array = try builder.rule { builder, start in
            try builder.list("[", "]", value, 0, nil, space: space, from: start)
        }
        for rule in [object, array] { builder.join(value, rule) }
        let scalar = try builder.rule { builder, start in
            var ends = try ["true", "false", "null"].map { try builder.literal($0, from: start) }
            ends.append(try builder.text(textCharacter, 0, nil, from: start))
            ends.append(try builder.number(from: start))
            let end = try builder.state()
            for state in ends { builder.join(state, end) }
            return end
        }
        builder.join(value, scalar)
    }

    // All edges leave the rule's first state: there `GrammarTables` recognizes free text.
    private static func textCharacter(
        _ builder: inout GrammarBuilder, _ start: Int32
    ) throws -> Int32 {
        let end = try builder.scalar([0x20...0x21, 0x23...0x5B, 0x5D...0x10FFFF], from: start)
        let escape = try builder.byte(0x5C...0x5C, from: start)
        for byte in "\"\\/bfnrt".utf8 { builder.add(.byte(byte...byte, end), to: escape) }
        let code = try builder.literal("u", from: escape)
        // Anything but D800 to DFFF, or a high surrogate and a low one.
        let others = try builder.digit("0123456789abcefABCEF", from: code)
        let surrogates = try builder.digit("dD", from: code)
        let last = try builder.digit("0123456789abcdefABCDEF", from: others)
        let below = try builder.digit("01234567", from: surrogates)
        builder.join(below, last)
        let pair = try builder.hexadecimal(2, from: builder.digit("89abAB", from: surrogates))
        let low = try builder.literal("\\u", from: pair)
        let lowD = try builder.digit("dD", from: low)
        let lowDigit = try builder.digit("cdefCDEF", from: lowD)
        for state in [last, lowDigit] {
            builder.join(try builder.hexadecimal(2, from: state), end)
        }
        return end
    }
}

extension GrammarBuilder {
    /// Reads one of the ASCII characters of `digits`.
    mutating func digit(_ digits: String, from state: Int32) throws -> Int32 {
        let next = try self.state()
        for byte in digits.utf8 { add(.byte(byte...byte, next), to: state) }
        return next
    }

    /// Reads `count` hexadecimal digits.
    mutating func hexadecimal(_ count: Int, from state: Int32) throws -> Int32 {
        try (0..<count).reduce(state) { state, _ in
            try digit("0123456789abcdefABCDEF", from: state)
        }
    }

    /// Reads a string of `minimum` to `maximum` characters, quotes included.
    mutating func text(
        _ character: Int32, _ minimum: Int, _ maximum: Int?, from state: Int32
    ) throws -> Int32 {
        let open = try literal("\"", from: state)
        return try literal("\"", from: repetition(character, minimum, maximum, from: open))
    }

    /// Reads what follows a member's name.
    mutating func memberValue(_ value: Int32, from state: Int32) throws -> Int32 {
        let colon = try literal(":", from: state)
        let spaced = try literal(" ", from: colon)
        join(colon, spaced)
        return try call(value, from: spaced)
    }

    /// Reads a list of `minimum` to `maximum` elements and its brackets.
    mutating func list(
        _ opening: String, _ closing: String, _ element: Int32, _ minimum: Int, _ maximum: Int?,
        space: Int32, from state: Int32
    ) throws -> Int32 {
        let open = try call(space, from: literal(opening, from: state))
        let close = try self.state()
        if minimum == 0 { join(open, close) }
        if maximum != 0 {
            let first = try call(element, from: open)
            let more = try commaElement(element, space: space)
            let last = try repetition(
                more, max(0, minimum - 1), maximum.map { $0 - 1 }, from: first)
            join(try call(space, from: last), close)
        }
        return try literal(closing, from: close)
    }

    /// The rule of a comma and an element.
    mutating func commaElement(_ element: Int32, space: Int32) throws -> Int32 {
        try rule { builder, start in
            let comma = try builder.call(space, from: builder.literal(",", from: start))
            return try builder.call(element, from: comma)
        }
    }
}
