extension SchemaCompiler {
    /// Reads a count that a keyword gives.
    private func count(_ key: String, _ keywords: JSON.Object, _ path: String) throws -> Int? {
        guard let value = keywords[key] else { return nil }
        guard let count = value.int, count >= 0 else {
            throw failure(.malformed, path, "\"\(key)\" is no count", got: value.text())
        }
        return count
    }

    // MARK: - Strings and numbers

    func writeString(
        _ keywords: JSON.Object, _ path: String, to builder: inout GrammarBuilder,
        from state: Int32
    ) throws -> Int32 {
        let minimum = try count("minLength", keywords, path)
        let maximum = try count("maxLength", keywords, path)
        let format = keywords["format"]?.string.flatMap { SchemaKeywords.formats[$0] }
        if let given = keywords["pattern"] {
            guard let text = given.string else {
                throw failure(.malformed, path, "\"pattern\" is no string")
            }
            let pattern = try StringPattern(text, source: "\(source) at \"#\(path)/pattern\"")
            let length = pattern.length
            guard length.minimum >= minimum ?? 0,
                maximum.map({ limit in length.maximum.map { $0 <= limit } ?? false }) ?? true
            else {
                throw failure(
                    .unsupported, path,
                    "\"pattern\" beside a length that it does not keep by itself")
            }
            return try pattern.write(
                to: &builder, from: state, textCharacter: rules.textCharacter)
        }
        if let format, minimum == nil, maximum == nil {
            return try StringPattern(format, source: source).write(
                to: &builder, from: state, textCharacter: rules.textCharacter)
        }
        return try builder.text(rules.textCharacter, minimum ?? 0, maximum, from: state)
    }

    func writeNumber(
        _ keywords: JSON.Object, _ path: String, isInteger: Bool, to builder: inout GrammarBuilder,
        from state: Int32
    ) throws -> Int32 {
        func bound(_ key: String) throws -> Double? {
            guard let value = keywords[key] else { return nil }
            guard let number = value.double else {
                throw failure(
                    .malformed, path, "\"\(key)\" is no number", got: value.text())
            }
            // Past this, doubles are no longer all integers.
            guard abs(number) <= 0x1p53 else {
                throw failure(
                    .unsupported, path, "\"\(key)\" is past 2⁵³", got: value.text())
            }
            guard isInteger || number == number.rounded() else {
                throw failure(
                    .unsupported, path,
                    "the keyword \"\(key)\" with a fraction, for another type than \"integer\"",
                    got: value.text())
            }
            return number
        }
        let (low, lowOpen) = (try bound("minimum"), try bound("exclusiveMinimum"))
        let (high, highOpen) = (try bound("maximum"), try bound("exclusiveMaximum"))
        guard low != nil || lowOpen != nil || high != nil || highOpen != nil else {
            return try isInteger ? builder.integer(from: state) : builder.number(from: state)
        }
        if isInteger {
            // The next integer within an open bound.
            let least = [low?.rounded(.up), lowOpen.map { $0.rounded(.down) + 1 }].compactMap { $0 }
            let most = [high?.rounded(.down), highOpen.map { $0.rounded(.up) - 1 }]
                .compactMap { $0 }
            return try builder.integer(
                from: least.max().map { Int($0) }, through: most.min().map { Int($0) }, from: state)
        }
        let isLowOpen = lowOpen.map { $0 >= low ?? -.infinity } ?? false
        let isHighOpen = highOpen.map { $0 <= high ?? .infinity } ?? false
        return try builder.decimal(
            from: (isLowOpen ? lowOpen : low).map { Int($0) },
            through: (isHighOpen ? highOpen : high).map { Int($0) },
            exclusive: (isLowOpen, isHighOpen), from: state)
    }

    // MARK: - Arrays

    mutating func writeArray(
        _ keywords: JSON.Object, _ path: String, to builder: inout GrammarBuilder,
        from state: Int32
    ) throws -> Int32 {
        let minimum = try count("minItems", keywords, path) ?? 0
        let maximum = try count("maxItems", keywords, path)
        guard minimum <= maximum ?? .max else {
            throw failure(.invalidArgument, path, "minItems is more than maxItems")
        }
        guard let prefix = keywords["prefixItems"] else {
            if keywords["items"]?.bool == false {
                return try builder.list(
                    "[", "]", rules.value, minimum, 0, space: rules.space, from: state)
            }
            let items = try keywords["items"].map {
                try rule($0, path + "/items", to: &builder)
            }
            return try builder.list(
                "[", "]", items ?? rules.value, minimum, maximum, space: rules.space, from: state)
        }
        guard let schemas = prefix.array, !schemas.isEmpty else {
            throw failure(.malformed, path, "\"prefixItems\" is no list of schemas")
        }
        let close = try builder.state()
        var place = try builder.call(rules.space, from: builder.literal("[", from: state))
        for (index, schema) in schemas.prefix(maximum ?? schemas.count).enumerated() {
            if index >= minimum { try self.close(close, after: index, from: place, to: &builder) }
            let element = try rule(schema, "\(path)/prefixItems/\(index)", to: &builder)
            if index > 0 {
                place = try builder.call(rules.space, from: builder.literal(",", from: place))
            }
            place = try builder.call(element, from: place)
        }
        if let items = keywords["items"], items.bool != false, maximum ?? .max > schemas.count {
            let element = try rule(items, path + "/items", to: &builder)
            let more = try builder.commaElement(element, space: rules.space)
            place = try builder.repetition(
                more, max(0, minimum - schemas.count), maximum.map { $0 - schemas.count },
                from: place)
            try self.close(close, after: schemas.count, from: place, to: &builder)
        } else if minimum <= schemas.count {
            try self.close(close, after: schemas.count, from: place, to: &builder)
        }
        return try builder.literal("]", from: close)
    }

    /// Ends an array after some elements.
    private func close(
        _ close: Int32, after count: Int, from place: Int32, to builder: inout GrammarBuilder
    ) throws {
        // Within "[" and "]" alone the one space has been read.
        builder.join(count == 0 ? place : try builder.call(rules.space, from: place), close)
    }

    // MARK: - Objects

    /// An object's members in the order of `properties`, those not required left out or not, then others.
    mutating func writeObject(
        _ keywords: JSON.Object, _ path: String, to builder: inout GrammarBuilder,
        from state: Int32
    ) throws -> Int32 {
        let additional = try additionalRule(keywords, path, to: &builder)
        let (members, names) = try members(keywords, path, additional, to: &builder)
        let open = try builder.call(rules.space, from: builder.literal("{", from: state))
        let close = try builder.state()
        // Before a property with no member written yet, and with one or more.
        var first = open
        var later = try builder.state()
        for member in members {
            let after = try builder.state()
            builder.join(try builder.call(member.rule, from: first), after)
            let comma = try builder.call(rules.space, from: builder.literal(",", from: later))
            builder.join(try builder.call(member.rule, from: comma), after)
            let none = try builder.state()
            if !member.isRequired {
                builder.join(first, none)
                builder.join(later, after)
            }
            (first, later) = (none, after)
        }
        if let additional {
            let value = additional
            let member = try builder.rule { builder, start in
                let name = try builder.name(
                    except: names, textCharacter: rules.textCharacter, from: start)
                return try builder.memberValue(value, from: name)
            }
            let more = try builder.commaElement(member, space: rules.space)
            let some = try builder.state()
            builder.join(try builder.call(member, from: first), some)
            builder.join(later, some)
            later = try builder.repetition(more, 0, nil, from: some)
        }
        builder.join(first, close)
        builder.join(try builder.call(rules.space, from: later), close)
        return try builder.literal("}", from: close)
    }

    /// The rule of the values of members that `properties` does not name; nil when there may be none.
    private mutating func additionalRule(
        _ keywords: JSON.Object, _ path: String, to builder: inout GrammarBuilder
    ) throws -> Int32? {
        let key =
            keywords["additionalProperties"] == nil
            ? "unevaluatedProperties" : "additionalProperties"
        guard let schema = keywords[key] else {
            return keywords["properties"] == nil ? rules.value : nil
        }
        return schema.bool == false ? nil : try rule(schema, "\(path)/\(key)", to: &builder)
    }

    private static let longestName = 256

    private struct Member {
        var rule: Int32
        var isRequired: Bool
    }

    private mutating func members(
        _ keywords: JSON.Object, _ path: String, _ additional: Int32?,
        to builder: inout GrammarBuilder
    ) throws -> (members: [Member], names: [String]) {
        let listed = try strings("required", keywords, path)
        let required = Set(listed)
        guard let properties = (keywords["properties"] ?? [:]).object else {
            throw failure(.malformed, path, "\"properties\" is no object")
        }
        var members: [Member] = []
        func append(_ name: String, _ value: Int32, isRequired: Bool) throws {
            guard name.unicodeScalars.count <= Self.longestName else {
                throw failure(
                    .unsupported, path,
                    "a property's name of more than \(Self.longestName) characters")
            }
            let rule = try builder.rule { builder, start in
                let name = try builder.literal(JSON.string(name).text(), from: start)
                return try builder.memberValue(value, from: name)
            }
            members.append(Member(rule: rule, isRequired: isRequired))
        }
        for (name, schema) in properties {
            let place = "\(path)/properties/\(name)"
            let isRequired = required.contains(name)
            // What can have no value can only be left out.
            if schema.bool == false, !isRequired { continue }
            try append(name, try rule(schema, place, to: &builder), isRequired: isRequired)
        }
        let others = listed.filter { properties[$0] == nil }
        for name in others {
            guard let additional else {
                throw failure(
                    .invalidArgument, path, "\"required\" names what \"properties\" has not",
                    got: name)
            }
            try append(name, additional, isRequired: true)
        }
        return (members, properties.keys + others)
    }

    private func strings(
        _ key: String, _ keywords: JSON.Object, _ path: String
    ) throws -> [String] {
        guard let value = keywords[key] else { return [] }
        guard let array = value.array, case let strings = array.compactMap(\.string),
            strings.count == array.count
        else { throw failure(.malformed, path, "\"\(key)\" is no list of names") }
        return strings
    }
}

extension GrammarBuilder {
    /// Reads a member's name that is none of `names`, quotes included.
    ///
    /// A name goes its own way with its first character that no given name has in that place; up to there
    /// nothing is escaped, for an escape would hide a given name.
    fileprivate mutating func name(
        except names: [String], textCharacter: Int32, from state: Int32
    ) throws -> Int32 {
        let open = try literal("\"", from: state)
        guard !names.isEmpty else {
            return try literal("\"", from: repetition(textCharacter, 0, nil, from: open))
        }
        let free = try self.state()
        let end = try self.state()
        try branch(names.map { Array($0.unicodeScalars)[...] }, from: open, free: free, end: end)
        let text = try repetition(textCharacter, 0, nil, from: free)
        join(try literal("\"", from: text), end)
        return end
    }

    private mutating func branch(
        _ rests: [ArraySlice<Unicode.Scalar>], from state: Int32, free: Int32, end: Int32
    ) throws {
        if !rests.contains(where: \.isEmpty) { join(try literal("\"", from: state), end) }
        let groups = Dictionary(grouping: rests.filter { !$0.isEmpty }) { $0.first?.value ?? 0 }
        var next: UInt32 = 0x20
        var others: [ClosedRange<UInt32>] = []
        for value in Set(groups.keys).union([0x22, 0x5C]).sorted() where value >= next {
            if value > next { others.append(next...value - 1) }
            next = value + 1
        }
        others.append(next...0x10FFFF)
        join(try scalar(others, from: state), free)
        for (value, group) in groups.sorted(by: { $0.key < $1.key })
        where value >= 0x20 && value != 0x22 && value != 0x5C {
            let child = try scalar([value...value], from: state)
            try branch(group.map { $0.dropFirst() }, from: child, free: free, end: end)
        }
    }
}
