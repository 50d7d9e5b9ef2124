import LorikeetQuant

/// What the random numbers of a pass follow from, a key a token.
///
/// A key follows from the run's seed, the row's position in the run and the token's in the row. So neither
/// the number of threads changes the noise, nor the rows beside one, nor where a run was taken up, and a
/// block that runs forward again finds the same.
package struct NoiseKeys: Sendable {
    // [tokens]
    private let keys: Buffer<UInt64>

    /// Makes the keys of `rows`, laid end to end.
    package init(_ rows: [TrainingRow], seed: UInt64) {
        keys = Buffer(
            rows.flatMap { row in
                let rowKey = Self.mix(Self.mix(seed) ^ UInt64(row.position))
                return row.inputIDs.indices.map { Self.mix(rowKey ^ UInt64($0)) }
            })
    }

    /// The embeddings' place; a layer's are above.
    static let embedding = 0

    /// The place of a block's layer among all places.
    static func place(layer: Int, place: Int, of modules: BlockModules) -> Int {
        1 + layer * modules.entries.count + place
    }

    /// The key of a token's noise at one of the places where there is some.
    func key(token: Int, place: Int) -> UInt64 { Self.mix(keys[token] ^ UInt64(place)) }

    /// SplitMix64's next number after the state `x`: every bit of the result follows from all of `x`.
    private static func mix(_ x: UInt64) -> UInt64 {
        var generator = SplitMix64(state: x)
        return generator.next()
    }
}
