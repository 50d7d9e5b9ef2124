import Foundation
import LorikeetAdapters
import LorikeetRuntime
import TestSupport
import Testing

@Suite struct EventFileTests {
    private func names(_ folder: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
    }

    /// The file was recorded with the tensorboard package 2.21: its messages, its masked_crc32c.
    @Test func `records are TensorBoard's, byte by byte`() throws {
        let recorded = try #require(
            Bundle.module.url(
                forResource: "events", withExtension: "tfevents", subdirectory: "Resources"))
        try Fixtures.withTemporaryFolder { folder in
            let events = try EventFile(in: folder + "/a/b", after: 300) { 1_700_000_000.25 }
            try events.append([
                "step": 301, "loss": 2.5, "learning_rate": 2e-4, "note": "no number",
                "tokens": 1024,
            ])
            try events.append(["step": 301, "validation_loss": 2.25])
            let name = try #require(try names(folder + "/a/b").first)
            #expect(name.hasPrefix("events.out.tfevents.1700000000."))
            #expect(
                try Data(contentsOf: URL(filePath: "\(folder)/a/b/\(name)"))
                    == Data(contentsOf: recorded))
        }
    }

    @Test func `a run that goes on writes a file that comes after the earlier ones`() throws {
        try Fixtures.withTemporaryFolder { folder in
            for _ in 0..<3 { _ = try EventFile(in: folder) { 5 } }
            try Data().write(to: URL(filePath: folder + "/events.out.tfevents.nonsense"))
            _ = try EventFile(in: folder) { 5 }
            let seconds = try names(folder).map { $0.split(separator: ".")[3] }
            #expect(
                seconds == ["0000000005", "0000000006", "0000000007", "0000000008", "nonsense"])
        }
    }

    @Test func `a folder that cannot be written is named`() {
        let error = #expect(throws: LorikeetError.self) { try EventFile(in: "/proc/nowhere") }
        #expect(error?.code == .io && error?.subject == "/proc/nowhere")
    }
}
