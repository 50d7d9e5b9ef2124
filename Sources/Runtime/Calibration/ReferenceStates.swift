package import LorikeetQuant
import QuantKernels

/// A model's hidden states after its final norm on windows of a text, as halves: with its output projection all that
/// its predictions need.
package struct ReferenceStates: Sendable {
    /// The hidden size.
    package let width: Int
    // [tokens of all windows, width]
    private let states: Buffer<UInt16>
    // The first token of each window: what a model makes of one follows from its tokens.
    private let places: [[Int32]: Int]

    /// Runs the model over the windows, one block in memory at a time.
    ///
    /// - Parameters:
    ///   - checkpoint: the model.
    ///   - windows: token ids; each is a sequence of its own.
    ///   - compute: what to run on.
    ///   - progress: gets the blocks done and their number; what it throws ends the work.
    /// - Throws: as `CalibrationPass`.
    package init(
        _ checkpoint: any Checkpoint, windows: [[Int32]], on compute: Compute,
        progress: (_ done: Int, _ total: Int) throws -> Void
    ) throws {
        let pass = try CalibrationPass(
            checkpoint, windows: windows, runsQuantized: false, on: compute)
        let blocks = pass.configuration.layerCount
        for layer in 0..<blocks {
            try pass.run(block: layer)
            try progress(layer + 1, blocks)
        }
        width = pass.configuration.hiddenSize
        states = try pass.normedStates()
        var start = 0
        var places: [[Int32]: Int] = [:]
        for window in windows {
            places[window] = start
            start += window.count
        }
        self.places = places
    }

    /// The states of one of the windows [tokens, width].
    package func states(of window: [Int32]) -> UnsafePointer<UInt16> {
        guard let place = places[window] else { preconditionFailure("a text without states") }
        return UnsafePointer(states.pointer + place * width)
    }
}
