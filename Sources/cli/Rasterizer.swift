import Foundation
import LorikeetRuntime

/// SVG as pixels, by the program that GNOME draws with: a rasterizer of fonts and curves would be larger than
/// all that it is for here.
enum Rasterizer {
    private static let program = "rsvg-convert"

    /// Writes `svg` as a PNG file of twice its size in pixels.
    ///
    /// - Throws: `.notFound` where rsvg-convert is not installed, `.io` where it fails; nothing is
    ///   written then.
    static func writePNG(_ svg: String, to path: String) throws {
        let folders = ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin"
        let places = folders.split(separator: ":").map { "\($0)/\(program)" }
        guard let place = places.first(where: FileManager.default.isExecutableFile) else {
            throw LorikeetError(
                .notFound, program, "it draws PNG files, and is not on PATH",
                advice: "Install it (on Debian: apt install librsvg2-bin), or name an .svg file.")
        }
        let process = Process()
        process.executableURL = URL(filePath: place)
        process.arguments = ["--format", "png", "--zoom", "2"]
        let (input, output) = (Pipe(), Pipe())
        process.standardInput = input
        process.standardOutput = output
        do { try process.run() } catch {
            throw LorikeetError(.io, place, "cannot run: \(error.localizedDescription)")
        }
        // It reads all before it writes.
        try? input.fileHandleForWriting.write(contentsOf: Data(svg.utf8))
        try? input.fileHandleForWriting.close()
        let image = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        guard process.terminationStatus == 0, !image.isEmpty else {
            throw LorikeetError(
                .io, path, "\(place) failed with exit code \(process.terminationStatus)")
        }
        try AtomicOutput.write(image, to: path)
    }
}
