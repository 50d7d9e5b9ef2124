/// Reads one call, `{"name": …, "arguments": …}`, byte by byte, and hands on its arguments as they come.
struct ToolCallScanner {
    private enum Step {
        case open, key, inKey, colon, value, inValue, comma, done, failed
    }

    // "id" is Mistral's, "type" some Llamas'.
    private static let keys: Set<String> = ["name", "arguments", "parameters", "id", "type"]

    /// All that was read.
    private(set) var raw: [UInt8] = []
    /// The function's name, once it is known.
    private(set) var name: String?
    /// What was read of the arguments' JSON and not taken yet.
    private var arguments: [UInt8] = []
    private var step = Step.open
    private var key = ""
    private var token: [UInt8] = []
    private var depth = 0
    private var isInString = false
    /// Whether the value is a string: arguments written as one are known when it ends.
    private var isText = false
    private var isEscaped = false

    /// Whether the call is whole.
    var isDone: Bool { step == .done }
    /// Whether it is no call.
    var isFailed: Bool { step == .failed }

    /// Takes the arguments read since the last time.
    mutating func takeArguments() -> String {
        if isText, step == .inValue { return "" }
        defer { arguments = [] }
        return String(decoding: arguments, as: UTF8.self)
    }

    private var isArguments: Bool { key == "arguments" || key == "parameters" }

    /// Reads the next byte.
    mutating func read(_ byte: UInt8) {
        raw.append(byte)
        if step == .inKey || step == .inValue && isInString { return readString(byte) }
        let isBlank = [0x20, 0x09, 0x0A, 0x0D].contains(byte)
        switch step {
        case _ where isBlank && step != .inValue: break
        case .open: step = byte == UInt8(ascii: "{") ? .key : .failed
        case .key:
            guard byte == UInt8(ascii: "\"") else {
                step = byte == UInt8(ascii: "}") && name != nil ? .done : .failed
                return
            }
            token = [byte]
            step = .inKey
        case .colon: step = byte == UInt8(ascii: ":") ? .value : .failed
        case .comma:
            step =
                byte == UInt8(ascii: ",")
                ? .key : byte == UInt8(ascii: "}") && name != nil ? .done : .failed
        case .value:
            token = []
            depth = 0
            isText = byte == UInt8(ascii: "\"")
            step = .inValue
            readValue(byte, isBlank: false)
        case .inValue: readValue(byte, isBlank: isBlank)
        case .inKey, .done, .failed: step = .failed
        }
    }

    private mutating func readString(_ byte: UInt8) {
        append(byte)
        if isEscaped {
            isEscaped = false
        } else if byte == UInt8(ascii: "\\") {
            isEscaped = true
        } else if byte == UInt8(ascii: "\"") {
            isInString = false
            if step == .inKey { endKey() } else if depth == 0 { endValue() }
        }
    }

    private mutating func readValue(_ byte: UInt8, isBlank: Bool) {
        let closes = byte == UInt8(ascii: "}") || byte == UInt8(ascii: "]")
        if depth == 0, isBlank || byte == UInt8(ascii: ",") || closes {
            // A number or a word has no mark at its end.
            endValue()
            if step == .comma, !isBlank {
                raw.removeLast()
                read(byte)
            }
            return
        }
        append(byte)
        switch byte {
        case UInt8(ascii: "\""): isInString = true
        case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
        case _ where closes:
            depth -= 1
            if depth == 0 { endValue() }
        default: break
        }
    }

    private mutating func append(_ byte: UInt8) {
        if step == .inValue, isArguments { arguments.append(byte) } else { token.append(byte) }
    }

    private mutating func endKey() {
        key = string(token) ?? ""
        step = Self.keys.contains(key) ? .colon : .failed
    }

    private mutating func endValue() {
        step = .comma
        if key == "name" {
            name = string(token)
            if name == nil { step = .failed }
        } else if isArguments, isText, let text = string(arguments) {
            arguments = Array(text.utf8)
        }
    }

    private func string(_ bytes: [UInt8]) -> String? {
        guard bytes.first == UInt8(ascii: "\"") else { return nil }
        return bytes.withUnsafeBytes { try? JSON(parsing: $0, source: "call").string }
    }
}
