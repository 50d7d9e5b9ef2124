import Foundation
import LorikeetRuntime
import TestSupport
import Testing

/// `lorikeet plot` on recorded metrics.
@Suite struct PlotTests {
    private func writeRun(_ path: String, factor: Double) throws {
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        let lines = (1...40).map {
            "{\"step\":\($0),\"loss\":\(factor / Double($0)),\"seconds\":\($0),\"tokens\":8}\n"
        }
        try Data(lines.joined().utf8).write(to: URL(filePath: path + "/metrics.jsonl"))
    }

    @Test func `draws runs beside one another`() throws {
        try Fixtures.withTemporaryFolder { folder in
            try writeRun(folder + "/lora", factor: 3)
            try writeRun(folder + "/reflora", factor: 2)
            let output = folder + "/plot.svg"
            let arguments = [
                "plot", folder + "/lora", folder + "/reflora/metrics.jsonl", "--output", output,
                "--x", "tokens", "--y", "loss,tokens", "--json",
            ]
            let outcome = try Program.run(arguments)
            #expect(outcome.status == 0, "\(outcome.errors)")
            #expect(try outcome.json["charts"]?.int == 2)
            let svg = try String(contentsOfFile: output, encoding: .utf8)
            #expect(svg.contains(">lora<") && svg.contains(">metrics.jsonl<"))
            // An output that exists needs --force.
            #expect(try Program.run(arguments).status == 1)
            #expect(try Program.run(arguments + ["--force"]).status == 0)
        }
    }

    @Test func `a PNG file is one, or the error says what to install`() throws {
        try Fixtures.withTemporaryFolder { folder in
            try writeRun(folder + "/run", factor: 3)
            let output = folder + "/plot.png"
            let none = try Program.run(
                ["plot", folder + "/run", "--output", output], limits: "export PATH=/nonexistent")
            #expect(none.status == 1 && none.errors.contains("librsvg2-bin"))
            #expect(!FileManager.default.fileExists(atPath: output))
            guard FileManager.default.isExecutableFile(atPath: "/usr/bin/rsvg-convert") else {
                return
            }
            let outcome = try Program.run(["plot", folder + "/run", "--output", output])
            #expect(outcome.status == 0, "\(outcome.errors)")
            let bytes = try Data(contentsOf: URL(filePath: output))
            #expect(bytes.starts(with: [0x89, 0x50, 0x4E, 0x47]))
        }
    }

    @Test func `what cannot be drawn is named`() throws {
        try Fixtures.withTemporaryFolder { folder in
            try writeRun(folder + "/run", factor: 3)
            let output = folder + "/x.svg"
            let key = try Program.run(["plot", folder + "/run", "--y", "los", "-o", output])
            #expect(key.status == 1 && key.errors.contains("los") && key.errors.contains("seconds"))
            try Data("{\"step\":1}\n{\"step\":".utf8)
                .write(to: URL(filePath: folder + "/run/metrics.jsonl"))
            let line = try Program.run(["plot", folder + "/run", "-o", output])
            #expect(line.status == 1 && line.errors.contains("line 2"))
            #expect(!FileManager.default.fileExists(atPath: output))
            for wrong in [
                ["--output", "x.pdf"], ["--smooth", "0"], ["--x", "days"], ["--y", ","],
            ] {
                #expect(try Program.run(["plot", folder + "/run"] + wrong).status == 64)
            }
        }
    }
}
