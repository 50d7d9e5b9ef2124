public import LorikeetRuntime

/// Appends to metrics.jsonl, a line a step or an evaluation, each in the file before the next step begins.
public final class MetricsWriter {
    private let file: AppendedFile
    private let events: EventFile?

    /// Opens the file at `path`, which may exist.
    ///
    /// - Parameters:
    ///   - path: the file.
    ///   - events: where each row goes too.
    /// - Throws: `.io` where it cannot be written.
    public init(path: String, events: EventFile? = nil) throws {
        file = try AppendedFile(path: path)
        self.events = events
    }

    /// Appends one row.
    ///
    /// - Throws: `.io` where the system refuses (a full disk).
    public func append(_ row: JSON) throws {
        try file.append(Array(row.text().utf8) + [0x0A])
        try events?.append(row)
    }

    /// Appends rows that are lines already: those of the run that this one goes on with.
    ///
    /// - Throws: `.io` where the system refuses.
    public func append(_ lines: [UInt8]) throws { try file.append(lines) }

    /// All rows so far.
    ///
    /// - Throws: `.io` where the file cannot be read.
    public func contents() throws -> [UInt8] {
        let file = try MappedFile(path: file.path)
        return withExtendedLifetime(file) { Array(file.bytes) }
    }
}
