/// Finds stop strings in text that comes in pieces, and holds back what may be the start of one.
///
/// A stop string may span pieces; it is not part of the text that comes out.
public struct StopStrings {
    private let stops: [[UInt8]]
    private var held: [UInt8] = []

    /// Whether a stop string was met; nothing comes out after it.
    public private(set) var isStopped = false

    /// Watches for `stops`, none of them empty.
    public init(_ stops: [String]) {
        precondition(!stops.contains(""), "an empty stop string")
        self.stops = stops.map { Array($0.utf8) }
    }

    /// Takes the next piece and returns the text that is certain by now.
    public mutating func append(_ piece: String) -> String {
        guard !isStopped else { return "" }
        held += piece.utf8
        if let stop = firstStop() {
            isStopped = true
            return release(stop)
        }
        return release(held.count - longestPossibleStart())
    }

    /// The text held back when no more comes.
    public mutating func finish() -> String { isStopped ? "" : release(held.count) }

    private mutating func release(_ count: Int) -> String {
        defer { held.removeFirst(count) }
        return String(decoding: held[..<count], as: UTF8.self)
    }

    private func firstStop() -> Int? {
        held.indices.first { start in stops.contains { held[start...].starts(with: $0) } }
    }

    /// The length of the longest end of `held` that begins a stop string.
    ///
    /// It starts at a character of a stop string, so what is released never splits one.
    private func longestPossibleStart() -> Int {
        held.indices.first { start in
            stops.contains { $0.starts(with: held[start...]) }
        }.map { held.count - $0 } ?? 0
    }
}
