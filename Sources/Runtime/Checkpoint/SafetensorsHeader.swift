/// The header of a safetensors file: which tensors its data hold, and where.
///
/// It is believed only when the tensors cover the data exactly, as the official reader demands: in the order
/// of their offsets each begins where the one before ends, and the last ends the data.
public struct SafetensorsHeader: Sendable {
    /// A tensor, as the header describes it.
    public struct Entry: Sendable {
        /// Its name.
        public var name: String
        /// How its elements are stored.
        public var type: TensorType
        /// Outermost dimension first.
        public var shape: [Int]
        /// Where it lies in the data.
        public var bytes: Range<Int>
    }

    /// The tensors, in the order of their offsets.
    public let tensors: [Entry]
    /// `__metadata__`: strings by name.
    public let metadata: [String: String]

    /// Reads the JSON text of a header, without making a tree of it: adapters have thousands of tensors.
    ///
    /// - Parameters:
    ///   - text: the JSON object.
    ///   - dataSize: bytes of the data that follow it.
    ///   - path: the file, for errors.
    /// - Throws: `.malformed`; `.unsupported` for an unknown dtype.
    public init(parsing text: UnsafeRawBufferPointer, dataSize: Int, path: String) throws {
        var entries: [Entry] = []
        var metadata: [String: String] = [:]
        var names: Set<String> = []
        var parser = JSONParser(bytes: text, source: path)
        _ = try parser.document { parser in
            guard try parser.peek() == UInt8(ascii: "{") else {
                throw Self.malformed(path, "its header is no object")
            }
            try parser.list("{", "}") { parser in
                let name = try parser.key { try $0.string() }
                // As strings, names are also equal that differ only in Unicode's forms.
                guard names.insert(name).inserted else {
                    throw Self.malformed(path, "two tensors have the name \(name)")
                }
                if name == "__metadata__" {
                    metadata = try Self.metadata(parser.value(), path)
                } else {
                    entries.append(try Entry(name: name, &parser, path))
                }
            }
            return .null
        }
        // Empty tensors share an offset with their neighbour, so the end decides too.
        entries.sort {
            ($0.bytes.lowerBound, $0.bytes.upperBound) < ($1.bytes.lowerBound, $1.bytes.upperBound)
        }
        var position = 0
        for entry in entries {
            guard entry.bytes.lowerBound == position else {
                throw Self.malformed(
                    path, "the tensor \(entry.name) overlaps another or leaves a hole",
                    expected: "data that begins at \(position)", got: "\(entry.bytes.lowerBound)")
            }
            position = entry.bytes.upperBound
        }
        guard position == dataSize else {
            throw Self.malformed(
                path, "its tensors do not cover its data", expected: "\(position) bytes",
                got: "\(dataSize)", advice: "The file may be truncated; get it again.")
        }
        tensors = entries
        self.metadata = metadata
    }

    private static func metadata(_ description: JSON, _ path: String) throws -> [String: String] {
        guard let members = description.object else {
            throw malformed(path, "__metadata__ is no object")
        }
        var metadata: [String: String] = [:]
        for (key, value) in members {
            guard let text = value.string else {
                throw malformed(path, "__metadata__: the value of \(key) is no string")
            }
            metadata[key] = text
        }
        return metadata
    }

    static func malformed(
        _ path: String, _ problem: String, expected: String? = nil, got: String? = nil,
        advice: String? = nil
    ) -> LorikeetError {
        LorikeetError(.malformed, path, problem, expected: expected, got: got, advice: advice)
    }
}

extension SafetensorsHeader.Entry {
    /// Reads the description that is next: checked by itself, not yet against its neighbours.
    fileprivate init(name: String, _ parser: inout JSONParser, _ path: String) throws {
        func malformed(
            _ problem: String, expected: String? = nil, got: String? = nil
        ) -> LorikeetError {
            SafetensorsHeader.malformed(
                path, "the tensor \(name): \(problem)", expected: expected, got: got)
        }
        guard try parser.peek() == UInt8(ascii: "{") else { throw malformed("no dtype") }
        var typeName: String?
        var shape: [Int]?
        var offsets: [Int]?
        var keys: [String] = []
        try parser.list("{", "}") { parser in
            let key = try parser.key { try $0.string() }
            guard !keys.contains(key) else {
                throw parser.failure("the key \(String(reflecting: key)) is repeated")
            }
            keys.append(key)
            switch key {
            case "dtype": typeName = try parser.value().string
            case "shape": shape = try Self.naturals(&parser)
            case "data_offsets": offsets = try Self.naturals(&parser)
            default: _ = try parser.value()
            }
        }
        guard let typeName else { throw malformed("no dtype") }
        guard let type = TensorType(rawValue: typeName), type.isSafetensors else {
            throw LorikeetError(
                .unsupported, path, "the tensor \(name) has an unknown dtype", got: typeName)
        }
        guard let shape else { throw malformed("its shape is no list of natural numbers") }
        guard let offsets, offsets.count == 2, offsets[0] <= offsets[1] else {
            throw malformed("its data_offsets are not [begin, end]")
        }
        let size = type.byteCount(of: shape)
        guard size == offsets[1] - offsets[0] else {
            throw malformed(
                "its shape and its data differ in size",
                expected: size.map { "\($0) bytes for \(typeName) \(shape)" }
                    ?? "a shape that can be stored, not \(shape)",
                got: "\(offsets[1] - offsets[0])")
        }
        self.init(name: name, type: type, shape: shape, bytes: offsets[0]..<offsets[1])
    }

    /// The elements of a list of integers that are written as such (not 1.0) and not negative; nil for
    /// another value.
    private static func naturals(_ parser: inout JSONParser) throws -> [Int]? {
        guard try parser.peek() == UInt8(ascii: "[") else {
            _ = try parser.value()
            return nil
        }
        var naturals: [Int] = []
        var isNatural = true
        try parser.list("[", "]") { parser in
            if case .int(let value) = try parser.value(), value >= 0 {
                naturals.append(value)
            } else {
                isNatural = false
            }
        }
        return isNatural ? naturals : nil
    }
}

extension TensorType {
    /// Whether safetensors has this type; the others are ggml's blocks.
    var isSafetensors: Bool {
        switch self {
        case .q8_0, .q4_0, .q4_1, .q5_0, .q5_1, .q2_K, .q3_K, .q4_K, .q5_K, .q6_K, .iq4_nl: false
        default: true
        }
    }
}
