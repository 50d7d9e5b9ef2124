public import LorikeetRuntime

/// The windows of tokens that a model's inputs are measured on.
public struct CalibrationText: Sendable {
    /// The word that stands for the text of Lorikeet's own.
    public static let standard = "default"

    /// Where they are from.
    public let files: [String]
    /// Token ids, `length` of them in each window.
    public let windows: [[Int32]]
    /// Tokens of all windows.
    public var tokenCount: Int { windows.reduce(0) { $0 + $1.count } }

    /// Reads windows from files, as many from each, spread evenly over it.
    ///
    /// A .jsonl file holds rows as training takes them, chats in the model's template; any other is one UTF-8 text;
    /// `default` is Lorikeet's own text.
    ///
    /// - Parameters:
    ///   - files: paths.
    ///   - tokenizer: the model's.
    ///   - chatTemplate: the model's.
    ///   - count: windows in all; there are fewer where the files are short.
    ///   - length: tokens of a window.
    /// - Throws: `.notFound`, `.io`; `.malformed` naming file and line; `.invalidArgument` for a file with fewer
    ///   tokens than a window.
    public init(
        files: [String], tokenizer: Tokenizer, chatTemplate: ChatTemplate?, count: Int, length: Int
    ) throws {
        precondition(!files.isEmpty && count > 0 && length > 1, "\(count) windows of \(length)")
        var windows: [[Int32]] = []
        for (index, file) in files.enumerated() {
            let share = count * (index + 1) / files.count - count * index / files.count
            let tokens = try Self.tokens(
                of: file, tokenizer, chatTemplate, atMost: 4 * count * length)
            let available = tokens.count / length
            guard available > 0 else {
                throw LorikeetError(
                    .invalidArgument, file, "too short to calibrate with",
                    expected: "at least \(length) tokens", got: "\(tokens.count)",
                    advice: "Give a longer text or a smaller --calibration-context.")
            }
            let taken = min(max(share, 1), available)
            for window in 0..<taken {
                let begin = window * available / taken * length
                windows.append(Array(tokens[begin..<begin + length]))
            }
        }
        self.files = files
        self.windows = windows
    }

    private static func tokens(
        of file: String, _ tokenizer: Tokenizer, _ chatTemplate: ChatTemplate?, atMost limit: Int
    ) throws -> [Int32] {
        if file == standard {
            return PackageResources.calibration_text_txt.withUnsafeBytes {
                tokenizer.encode(bytes: $0, addSpecialTokens: false)
            }
        }
        guard file.hasSuffix(".jsonl") else {
            let mapped = try MappedFile(path: file)
            return withExtendedLifetime(mapped) {
                tokenizer.encode(bytes: mapped.bytes, addSpecialTokens: false)
            }
        }
        let rows = try TrainingData(
            jsonl: file, tokenizer: tokenizer, chatTemplate: chatTemplate, maximumLength: limit
        ).rows
        var tokens: [Int32] = []
        for index in 0..<rows.count where tokens.count < limit {
            tokens += try rows.row(at: index).inputIDs
        }
        return tokens
    }
}
