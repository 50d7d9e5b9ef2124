/// Finds tool calls in an answer that comes in pieces: what is text, and what calls which function.
///
/// ```swift
/// var parser = ToolCallParser(template.toolCallFormat)
/// for piece in pieces { send(parser.append(piece)) }
/// send(parser.finish())
/// ```
///
/// A call's name comes once, when it is known, and its arguments as the model writes them. What only looks
/// like a call is text.
public struct ToolCallParser: Sendable {
    /// A part of what an answer says.
    public enum Piece: Sendable, Equatable {
        /// Text for the reader.
        case content(String)
        /// A call begins.
        case call(index: Int, name: String)
        /// More of a call's arguments, as JSON text.
        case arguments(index: Int, String)
    }

    private enum State {
        /// Text, where a marker may come; at the answer's beginning a call may come without one.
        case text(isStart: Bool)
        /// After a marker, before the call itself.
        case beforeCall(marker: [UInt8])
        case call(ToolCallScanner, marker: [UInt8], isAnnounced: Bool, hasArguments: Bool)
        /// After a call, where another may follow without a marker.
        case afterCall
    }

    /// How many calls have begun.
    public private(set) var callCount = 0

    private let format: ToolCallFormat
    private var state = State.text(isStart: true)
    private var held: [UInt8] = []

    /// Looks for calls of a format.
    public init(_ format: ToolCallFormat) { self.format = format }

    /// Takes the next piece of text and returns what is certain by now.
    public mutating func append(_ text: String) -> [Piece] {
        held += text.utf8
        var pieces: [Piece] = []
        while step(&pieces) {}
        return pieces
    }

    /// Returns what was held back; no text may follow.
    public mutating func finish() -> [Piece] {
        var pieces: [Piece] = []
        switch state {
        case .text: emit([], held, to: &pieces)
        case .beforeCall(let marker): emit(marker, held, to: &pieces)
        case .call(let scanner, let marker, let isAnnounced, _):
            // A call that was cut off remains one.
            if !isAnnounced { emit(marker, scanner.raw, to: &pieces) }
        case .afterCall: break
        }
        held = []
        return pieces
    }

    private func emit(_ first: [UInt8], _ second: [UInt8], to pieces: inout [Piece]) {
        guard !(first + second).isEmpty else { return }
        pieces.append(.content(String(decoding: first + second, as: UTF8.self)))
    }

    /// Goes on as far as one state leads; returns whether there may be more to do.
    private mutating func step(_ pieces: inout [Piece]) -> Bool {
        switch state {
        case .text(let isStart): return text(isStart: isStart, &pieces)
        case .beforeCall(let marker):
            let opening = held.drop { $0.isBlank || $0 == UInt8(ascii: "[") && format == .mistral }
            guard let first = opening.first else { return false }
            guard first == UInt8(ascii: "{") else {
                emit(marker, [], to: &pieces)
                state = .text(isStart: false)
                return true
            }
            let skipped = held.prefix(held.count - opening.count)
            state = .call(
                ToolCallScanner(), marker: marker + skipped, isAnnounced: false,
                hasArguments: false)
            held = Array(opening)
            return true
        case .call: return call(&pieces)
        case .afterCall: return afterCall(&pieces)
        }
    }

    private mutating func text(isStart: Bool, _ pieces: inout [Piece]) -> Bool {
        if isStart {
            let rest = held.drop { $0.isBlank }
            guard let first = rest.first else { return false }
            if format != .hermes,
                first == UInt8(ascii: "{") || first == UInt8(ascii: "[") && format == .mistral
            {
                // Mistral's marker begins with a bracket too.
                if Array(format.marker.utf8).starts(with: rest), rest.count > 1 { return false }
                if !rest.starts(with: format.marker.utf8) {
                    state = .beforeCall(marker: [])
                    return true
                }
            }
            state = .text(isStart: false)
        }
        let marker = Array(format.marker.utf8)
        if let place = held.indices.first(where: { held[$0...].starts(with: marker) }) {
            // Blanks before a call are no part of the text.
            emit([], Array(held[..<place].trimmingBlanks), to: &pieces)
            state = .beforeCall(marker: marker)
            held.removeFirst(place + marker.count)
            return true
        }
        let start = held.indices.first { marker.starts(with: held[$0...]) } ?? held.count
        let sure = held[..<start].trimmingBlanks
        emit([], Array(sure), to: &pieces)
        held.removeFirst(sure.count)
        return false
    }

    private mutating func call(_ pieces: inout [Piece]) -> Bool {
        guard case .call(var scanner, let marker, var isAnnounced, var hasArguments) = state else {
            return false
        }
        var count = 0
        while count < held.count, !scanner.isDone, !scanner.isFailed {
            scanner.read(held[count])
            count += 1
        }
        held.removeFirst(count)
        if let name = scanner.name {
            if !isAnnounced {
                pieces.append(.call(index: callCount, name: name))
                callCount += 1
                isAnnounced = true
            }
            let arguments = scanner.takeArguments()
            if !arguments.isEmpty {
                pieces.append(.arguments(index: callCount - 1, arguments))
                hasArguments = true
            }
        }
        if scanner.isDone {
            if !hasArguments { pieces.append(.arguments(index: callCount - 1, "{}")) }
            state = .afterCall
            return true
        }
        if scanner.isFailed {
            if !isAnnounced { emit(marker, scanner.raw, to: &pieces) }
            state = .text(isStart: false)
            return true
        }
        state = .call(scanner, marker: marker, isAnnounced: isAnnounced, hasArguments: hasArguments)
        return false
    }

    private mutating func afterCall(_ pieces: inout [Piece]) -> Bool {
        let rest = held.drop { $0.isBlank }
        guard let first = rest.first else { return false }
        switch (format, first) {
        case (.hermes, _):
            let end = Array("</tool_call>".utf8)
            if rest.starts(with: end) {
                held = Array(rest.dropFirst(end.count))
            } else if end.starts(with: rest) {
                return false
            }
            state = .text(isStart: false)
        case (.llama3, UInt8(ascii: ";")), (.llama3, UInt8(ascii: ",")),
            (.mistral, UInt8(ascii: ",")):
            held = Array(rest.dropFirst())
            state = .beforeCall(marker: [])
        case (.llama3, UInt8(ascii: "{")): state = .beforeCall(marker: [])
        case (.mistral, UInt8(ascii: "]")):
            held = Array(rest.dropFirst())
            state = .text(isStart: false)
        default: state = .text(isStart: false)
        }
        return true
    }
}

extension UInt8 {
    fileprivate var isBlank: Bool { self == 0x20 || self == 0x0A || self == 0x0D || self == 0x09 }
}

extension ArraySlice<UInt8> {
    fileprivate var trimmingBlanks: ArraySlice<UInt8> {
        prefix(count - reversed().prefix { $0.isBlank }.count)
    }
}
