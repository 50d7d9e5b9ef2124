extension JSON {
    /// Parses one JSON document (RFC 8259), refusing repeated keys and nesting past 512 levels.
    ///
    /// The error names `source`, the file's path.
    ///
    /// - Throws: `.malformed` with the byte offset.
    public init(parsing bytes: UnsafeRawBufferPointer, source: String) throws {
        var parser = JSONParser(bytes: bytes, source: source)
        self = try parser.document { try $0.value() }
    }

    /// Parses a string.
    public init(parsing text: String, source: String) throws {
        var text = text
        self = try text.withUTF8 { try JSON(parsing: UnsafeRawBufferPointer($0), source: source) }
    }

    /// Parses the file at `path`.
    public init(contentsOf path: String) throws {
        let file = try MappedFile(path: path)
        self = try withExtendedLifetime(file) { try JSON(parsing: file.bytes, source: path) }
    }
}
