/// `object.name`, `object[index]` and slices, as jinja2's sandbox resolves them.
extension JinjaInterpreter {
    /// `object.name`: the type's own methods first, then a key of that name.
    func attribute(_ name: String, of object: JinjaValue) throws -> JinjaValue {
        if case .undefined(let undefined) = object { throw JinjaFailure(undefined.problem) }
        if let value = ownAttribute(name, of: object) { return value }
        if case .dictionary(let dictionary) = object, let value = dictionary.value(at: name) {
            return value
        }
        return .undefined("'\(object.typeName) object' has no attribute '\(name)'")
    }

    /// `object[index]`: the key or index first, then the type's methods.
    func item(_ index: JinjaValue, of object: JinjaValue) throws -> JinjaValue {
        if let value = try ownItem(index, of: object) { return value }
        if case .string(let name) = index, let value = ownAttribute(name, of: object) {
            return value
        }
        return .undefined("'\(object.typeName) object' has no element \(index.representation)")
    }

    private func ownItem(_ index: JinjaValue, of object: JinjaValue) throws -> JinjaValue? {
        switch object {
        case .undefined(let undefined): throw JinjaFailure(undefined.problem)
        case .list(let elements), .tuple(let elements): return element(index, of: elements)
        case .dictionary(let dictionary): return try? dictionary.value(at: index)
        case .string(let text):
            try spend(bytes: text.utf8.count)
            let scalars = text.unicodeScalars
            guard let offset = index.integer, offset < scalars.count, offset >= -scalars.count
            else { return nil }
            let position = offset < 0 ? offset + scalars.count : offset
            return .string(String(scalars[scalars.index(scalars.startIndex, offsetBy: position)]))
        case .sequence(let sequence):
            guard case .range = sequence.kind else { return nil }
            return element(index, of: sequence.take())
        default: return nil
        }
    }

    private func element(_ index: JinjaValue, of elements: [JinjaValue]) -> JinjaValue? {
        guard let offset = index.integer else { return nil }
        let position = offset < 0 ? offset + elements.count : offset
        return elements.indices.contains(position) ? elements[position] : nil
    }

    private func ownAttribute(_ name: String, of object: JinjaValue) -> JinjaValue? {
        // what the sandbox hides prints as nothing and fails when used
        let hidden = JinjaValue.undefined(
            "access to attribute '\(name)' of '\(object.typeName)' object is unsafe")
        switch object {
        case .string(let text):
            if let method = StringMethods.method(name, of: text) { return method }
        case .dictionary(let dictionary):
            if ["clear", "pop", "popitem", "setdefault", "update"].contains(name) { return hidden }
            if let method = CollectionMethods.method(name, of: dictionary) { return method }
        case .list(let elements):
            let mutating = [
                "append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove",
            ]
            if mutating.contains(name) { return hidden }
            if let method = CollectionMethods.method(name, of: elements) { return method }
        case .tuple(let elements):
            if name != "copy", let method = CollectionMethods.method(name, of: elements) {
                return method
            }
        case .namespace(let namespace): return namespace.attributes[name]
        case .loop(let loop): return LoopAttributes.attribute(name, of: loop)
        default: break
        }
        return ["__class__", "__init__", "__doc__", "__dict__", "__globals__"].contains(name)
            ? hidden : nil
    }

    // MARK: Slices

    func sliced(_ object: JinjaValue, _ slice: JinjaSlice) throws -> JinjaValue {
        let bounds = try [slice.start, slice.stop, slice.step].map { bound in
            try bound.flatMap { try self.bound(evaluate($0)) }
        }
        guard bounds[2] != 0 else { throw JinjaFailure("slice step cannot be zero") }
        switch object {
        case .undefined(let undefined): throw JinjaFailure(undefined.problem)
        case .string(let text):
            try spend(bytes: text.utf8.count)
            let scalars = picked(Array(text.unicodeScalars), bounds)
            return .string(String(String.UnicodeScalarView(scalars)))
        case .list(let elements):
            try spend(bytes: 8 * elements.count)
            return .list(picked(elements, bounds))
        case .tuple(let elements):
            try spend(bytes: 8 * elements.count)
            return .tuple(picked(elements, bounds))
        case .sequence(let sequence):
            guard case .range = sequence.kind else { break }
            return .sequence(JinjaSequence(.range, picked(sequence.take(), bounds)))
        default: break
        }
        return .undefined("'\(object.typeName) object' cannot be sliced")
    }

    private func bound(_ value: JinjaValue) throws -> Int? {
        switch value {
        case .none: return nil
        case .undefined(let undefined): throw JinjaFailure(undefined.problem)
        default: break
        }
        guard let bound = value.integer else {
            throw JinjaFailure("slice indices must be integers or None")
        }
        return bound
    }

    /// Python's rule: negative bounds count from the end, all are clamped, a negative step goes back.
    private func picked<Element>(_ elements: [Element], _ bounds: [Int?]) -> [Element] {
        let count = elements.count
        let step = bounds[2] ?? 1
        let lowest = step > 0 ? 0 : -1
        let highest = step > 0 ? count : count - 1
        func clamped(_ bound: Int) -> Int {
            max(lowest, min(highest, bound < 0 ? max(bound, -count - 1) + count : bound))
        }
        let start = bounds[0].map(clamped) ?? (step > 0 ? lowest : highest)
        let stop = bounds[1].map(clamped) ?? (step > 0 ? highest : lowest)
        return stride(from: start, to: stop, by: step).map { elements[$0] }
    }
}

/// The attributes of the variable `loop`.
enum LoopAttributes {
    static func attribute(_ name: String, of loop: JinjaLoopState) -> JinjaValue? {
        let count = loop.elements.count
        switch name {
        case "index": return .int(loop.index + 1)
        case "index0": return .int(loop.index)
        case "revindex": return .int(count - loop.index)
        case "revindex0": return .int(count - loop.index - 1)
        case "first": return .bool(loop.index == 0)
        case "last": return .bool(loop.index == count - 1)
        case "length": return .int(count)
        // jinja2 counts recursive loops only, which there are none of here
        case "depth": return .int(1)
        case "depth0": return .int(0)
        case "previtem":
            return loop.index > 0
                ? loop.elements[loop.index - 1] : .undefined("there is no previous item")
        case "nextitem":
            return loop.index + 1 < count
                ? loop.elements[loop.index + 1] : .undefined("there is no next item")
        case "cycle":
            return .function(
                JinjaFunction(name) { _, arguments in
                    guard !arguments.positional.isEmpty else {
                        throw JinjaFailure("no items for cycling given")
                    }
                    return arguments.positional[loop.index % arguments.positional.count]
                })
        case "changed":
            return .function(
                JinjaFunction(name) { interpreter, arguments in
                    let value = arguments.positional
                    try interpreter.spend(on: .list(value))
                    defer { loop.lastChanged = value }
                    guard let last = loop.lastChanged else { return .bool(true) }
                    return .bool(!JinjaValue.areEqual(.list(last), .list(value)))
                })
        default: return nil
        }
    }
}
