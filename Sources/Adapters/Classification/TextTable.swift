import Foundation
import LorikeetRuntime

/// The rows of a TSV, CSV or JSONL file by the columns that a task names.
///
/// A TSV's fields are what stands between tabs, quotes and all, as GLUE's files are written; a CSV's may be
/// quoted (RFC 4180). The first line names the columns, unless all columns are asked for by number, from 1: then
/// there is no such line. A JSONL file has an object a line, whose keys are the columns.
struct TextTable {
    /// A row: the fields of the asked columns, and its line.
    struct Row {
        var fields: [String]
        var line: Int
    }

    /// The rows in the order of the file.
    let rows: [Row]

    /// Reads the columns called `columns` of the file at `path`, whose name says what it is.
    ///
    /// - Throws: `.unsupported` for another kind of file, `.malformed` naming the line, or a column that is not
    ///   there.
    init(path: String, columns: [String]) throws {
        let file = try MappedFile(path: path)
        let text = withExtendedLifetime(file) {
            // A byte order mark belongs to no column's name.
            let mark: [UInt8] = [0xEF, 0xBB, 0xBF]
            return String(
                decoding: file.bytes.dropFirst(file.bytes.starts(with: mark) ? mark.count : 0),
                as: UTF8.self)
        }
        switch (path as NSString).pathExtension.lowercased() {
        case "tsv", "txt":
            rows = try Self.select(columns, from: Self.tabbed(text), path)
        case "csv": rows = try Self.select(columns, from: Self.quoted(text, path), path)
        case "jsonl", "json": rows = try Self.objects(columns, text, path)
        case "gz":
            throw LorikeetError(
                .unsupported, path, "a compressed file", advice: "Unpack it first: gunzip -k.")
        default:
            throw LorikeetError(
                .unsupported, path, "a table of unknown kind",
                expected: "a name that ends in .tsv, .csv or .jsonl")
        }
        guard !rows.isEmpty else { throw LorikeetError(.malformed, path, "the table is empty") }
    }

    private static func tabbed(_ text: String) -> [Row] {
        var line = 0
        // Bytes: a carriage return and a line feed are one character.
        return text.utf8.split(separator: 0x0A, omittingEmptySubsequences: false).compactMap {
            line += 1
            let bytes = $0.last == 0x0D ? $0.dropLast() : $0
            guard !bytes.isEmpty else { return nil }
            let fields = bytes.split(separator: 0x09, omittingEmptySubsequences: false)
            return Row(
                fields: fields.map { String(decoding: $0, as: UTF8.self) }, line: line)
        }
    }

    private static func quoted(_ text: String, _ path: String) throws -> [Row] {
        var rows: [Row] = []
        var (fields, field): ([String], [UInt8]) = ([], [])
        var (isQuoted, wasQuoted) = (false, false)
        var (line, first) = (1, 1)
        func failure(_ what: String) -> LorikeetError {
            LorikeetError(.malformed, "\(path), line \(line)", what)
        }
        func endField() {
            fields.append(String(decoding: field, as: UTF8.self))
            (field, wasQuoted) = ([], false)
        }
        func endRow() {
            if field.last == 0x0D, !wasQuoted { field.removeLast() }
            if fields.isEmpty, field.isEmpty, !wasQuoted { return }
            endField()
            rows.append(Row(fields: fields, line: first))
            fields = []
        }
        let bytes = Array(text.utf8)
        var i = 0
        while i < bytes.count {
            let byte = bytes[i]
            i += 1
            if isQuoted {
                if byte == 0x22, i < bytes.count, bytes[i] == 0x22 {
                    field.append(byte)
                    i += 1
                } else if byte == 0x22 {
                    isQuoted = false
                } else {
                    if byte == 0x0A { line += 1 }
                    field.append(byte)
                }
                continue
            }
            switch byte {
            case 0x22 where field.isEmpty && !wasQuoted: (isQuoted, wasQuoted) = (true, true)
            case 0x2C: endField()
            case 0x0A:
                endRow()
                line += 1
                first = line
            case 0x0D where wasQuoted: continue
            default:
                guard !wasQuoted else { throw failure("text after a closing quote") }
                field.append(byte)
            }
        }
        guard !isQuoted else { throw failure("a quote that is not closed") }
        endRow()
        return rows
    }

    private static func select(
        _ columns: [String], from rows: [Row], _ path: String
    ) throws -> [Row] {
        let numbers = columns.compactMap { Int($0) }
        let (places, rest): ([Int], ArraySlice<Row>)
        if numbers.count == columns.count {
            (places, rest) = (numbers.map { $0 - 1 }, rows[...])
        } else {
            guard let header = rows.first else {
                throw LorikeetError(.malformed, path, "the table is empty")
            }
            places = try columns.map { column in
                guard let place = header.fields.firstIndex(of: column) else {
                    throw LorikeetError(
                        .notFound, path, "there is no column \(String(reflecting: column))",
                        expected: "one of \(header.fields.joined(separator: ", "))",
                        advice: "A table without a line of names has its columns by number, from 1."
                    )
                }
                return place
            }
            rest = rows.dropFirst()
        }
        return try rest.map { row in
            Row(
                fields: try places.map { place in
                    guard row.fields.indices.contains(place) else {
                        throw LorikeetError(
                            .malformed, "\(path), line \(row.line)",
                            "there is no column \(place + 1)",
                            expected: "at least \(place + 1) columns", got: "\(row.fields.count)")
                    }
                    return row.fields[place]
                }, line: row.line)
        }
    }

    private static func objects(
        _ columns: [String], _ text: String, _ path: String
    ) throws -> [Row] {
        var text = text
        return try text.withUTF8 { bytes in
            var line = 0
            return try bytes.split(separator: 0x0A, omittingEmptySubsequences: false).compactMap {
                line += 1
                guard !$0.allSatisfy({ $0 == 0x20 || $0 == 0x09 || $0 == 0x0D }) else { return nil }
                let source = "\(path), line \(line)"
                let json = try JSON(
                    parsing: UnsafeRawBufferPointer(UnsafeBufferPointer(rebasing: $0)),
                    source: source)
                let fields = try columns.map { column in
                    guard let value = json[column], !value.isNull else {
                        throw LorikeetError(
                            .malformed, source, "there is no key \(String(reflecting: column))")
                    }
                    return value.string ?? value.text()
                }
                return Row(fields: fields, line: line)
            }
        }
    }
}
