public import Foundation

/// Where tests find what is committed, and what a machine may have besides.
public enum Fixtures {
    /// The root of the checkout.
    public static let root = URL(filePath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    /// The default model quantized to NF4, as `make models` leaves it; nil when it was not made.
    public static let quantizedModel = existing("models/cache/smollm2-nf4")

    /// The default model's GGUF, which dequantizes to the fp32 reference; nil when it was not fetched.
    public static let floatModel = existing("models/cache/SmolLM2-135M-Instruct.Q4_1.gguf")

    /// A file of the reference numbers that lie beside the checkout on the team's machines.
    public static func reference(_ path: String) -> String? {
        existing("../shared/reference/golden/" + path)
    }

    /// The path of `relative` to the root, if there is something.
    public static func existing(_ relative: String) -> String? {
        let path = root.appending(path: relative).standardizedFileURL.path(percentEncoded: false)
        return FileManager.default.fileExists(atPath: path) ? path : nil
    }

    /// Runs `body` with a fresh folder that is removed afterwards.
    public static func withTemporaryFolder<Result>(
        _ body: (String) throws -> Result
    ) throws -> Result {
        let folder = FileManager.default.temporaryDirectory
            .appending(path: "lorikeet-\(UUID().uuidString)").path(percentEncoded: false)
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        return try body(folder)
    }

    /// The same for a body that waits.
    public static func withTemporaryFolder<Result>(
        _ body: (String) async throws -> Result
    ) async throws -> Result {
        let folder = FileManager.default.temporaryDirectory
            .appending(path: "lorikeet-\(UUID().uuidString)").path(percentEncoded: false)
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        return try await body(folder)
    }
}
