import Foundation
public import LorikeetRuntime

/// A file that TensorBoard reads: the scalars of a run, appended as they come.
///
/// A record is an Event message (tensorflow/core/util/event.proto) in TFRecord's frame:
///
///     UInt64  length                    UInt32  masked CRC-32C of the length
///     bytes   [length]                  UInt32  masked CRC-32C of the bytes
///
/// Each is appended by one write, so a killed run leaves at most a last record that readers pass over.
public final class EventFile {
    private let file: AppendedFile
    private let now: () -> Double

    /// Begins a file in `folder`, which is created where it is not there.
    ///
    /// A run that goes on after its first steps begins another file, which says so: of earlier files in the
    /// folder TensorBoard then shows the steps before it alone, so that the curve is one.
    ///
    /// - Parameters:
    ///   - folder: the run's own folder in TensorBoard's.
    ///   - steps: the steps that are done already.
    ///   - now: the seconds since 1970; nil for the system's clock.
    /// - Throws: `.io` where it cannot be written.
    public init(in folder: String, after steps: Int = 0, now: (() -> Double)? = nil) throws {
        let now = now ?? { Date().timeIntervalSince1970 }
        self.now = now
        do {
            try FileManager.default.createDirectory(
                atPath: folder, withIntermediateDirectories: true)
        } catch {
            throw LorikeetError(
                .io, folder, "cannot create the folder: \(error.localizedDescription)")
        }
        // Readers take the files in the order of their names, and two runs may begin in one second.
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        let newest = names.compactMap(Self.second(of:)).max() ?? 0
        let second = max(Int(now()), newest + 1)
        let host = ProcessInfo.processInfo.hostName.filter { $0.isASCII && $0 != "/" }
        file = try AppendedFile(
            path: "\(folder)/\(Self.prefix)\(String(format: "%010ld", second)).\(host)")
        var version = event(step: nil)
        version.add(3, "brain.Event:2")
        try append(version)
        var start = ProtobufMessage()
        start.add(1, 1)  // SessionLog.status = START
        var restart = event(step: steps + 1)
        restart.add(7, start)
        try append(restart)
    }

    private static let prefix = "events.out.tfevents."

    private static func second(of name: String) -> Int? {
        guard name.hasPrefix(prefix) else { return nil }
        return name.dropFirst(prefix.count).split(separator: ".").first.flatMap { Int($0) }
            .flatMap { (0..<1_000_000_000_000).contains($0) ? $0 : nil }
    }

    /// Appends the numbers of a row of metrics.jsonl, at its step: a validation's as `eval/loss`, the others
    /// as `train/` and their key.
    ///
    /// - Throws: `.io` where the system refuses (a full disk).
    public func append(_ row: JSON) throws {
        guard let step = row["step"]?.int, let members = row.object else { return }
        var summary = ProtobufMessage()
        for (key, json) in members where key != "step" {
            guard let number = json.double else { continue }
            var value = ProtobufMessage()
            value.add(1, key == "validation_loss" ? "eval/loss" : "train/\(key)")
            value.add(2, Float(number))
            summary.add(1, value)
        }
        var message = event(step: step)
        message.add(5, summary)
        try append(message)
    }

    private func event(step: Int?) -> ProtobufMessage {
        var message = ProtobufMessage()
        message.add(1, now())
        if let step { message.add(2, step) }
        return message
    }

    private func append(_ message: ProtobufMessage) throws {
        let length = littleEndian(UInt64(message.bytes.count))
        try file.append(
            length + littleEndian(CRC32C.masked(length))
                + message.bytes + littleEndian(CRC32C.masked(message.bytes)))
    }
}
