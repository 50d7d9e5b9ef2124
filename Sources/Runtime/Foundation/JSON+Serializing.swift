public import Foundation

extension JSON {
    /// The document as text: on one line, or indented by two spaces a level as transformers writes it.
    ///
    /// Non-ASCII characters stand as themselves.
    public func text(pretty: Bool = false) -> String {
        var output: [UInt8] = []
        write(to: &output, indent: pretty ? 0 : nil)
        return String(decoding: output, as: UTF8.self)
    }

    /// The UTF-8 bytes of `text(pretty:)`.
    public func data(pretty: Bool = false) -> Data {
        var output: [UInt8] = []
        write(to: &output, indent: pretty ? 0 : nil)
        return Data(output)
    }

    private func write(to output: inout [UInt8], indent: Int?) {
        switch self {
        case .null: output += "null".utf8
        case .bool(let value): output += (value ? "true" : "false").utf8
        case .int(let value): output += String(value).utf8
        case .double(let value):
            // JSON has no word for these; null is what JavaScript writes.
            output += (value.isFinite ? "\(value)" : "null").utf8
        case .string(let value): JSON.quote(value, to: &output)
        case .array(let elements):
            JSON.writeList(elements, "[", "]", to: &output, indent: indent) {
                element, output, indent in
                element.write(to: &output, indent: indent)
            }
        case .object(let members):
            JSON.writeList(members, "{", "}", to: &output, indent: indent) {
                member, output, indent in
                JSON.quote(member.key, to: &output)
                output += (indent == nil ? ":" : ": ").utf8
                member.value.write(to: &output, indent: indent)
            }
        }
    }

    private static func writeList<List: Collection>(
        _ list: List, _ opening: String, _ closing: String, to output: inout [UInt8], indent: Int?,
        element: (List.Element, inout [UInt8], Int?) -> Void
    ) {
        output += opening.utf8
        let inner = indent.map { $0 + 2 }
        var isFirst = true
        for item in list {
            if !isFirst { output.append(UInt8(ascii: ",")) }
            isFirst = false
            newline(inner, to: &output)
            element(item, &output, inner)
        }
        if !isFirst { newline(indent, to: &output) }
        output += closing.utf8
    }

    private static func newline(_ indent: Int?, to output: inout [UInt8]) {
        guard let indent else { return }
        output.append(0x0A)
        output += repeatElement(0x20, count: indent)
    }

    private static func quote(_ text: String, to output: inout [UInt8]) {
        output.append(UInt8(ascii: "\""))
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\""): output += "\\\"".utf8
            case UInt8(ascii: "\\"): output += "\\\\".utf8
            case 0x0A: output += "\\n".utf8
            case 0x0D: output += "\\r".utf8
            case 0x09: output += "\\t".utf8
            case 0x08: output += "\\b".utf8
            case 0x0C: output += "\\f".utf8
            case 0..<0x20:
                let digits = String(byte, radix: 16)
                output += "\\u".utf8
                output += repeatElement(UInt8(ascii: "0"), count: 4 - digits.utf8.count)
                output += digits.utf8
            default: output.append(byte)
            }
        }
        output.append(UInt8(ascii: "\""))
    }
}
