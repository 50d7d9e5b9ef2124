import LorikeetQuant

/// The rows of one pass: tokens of one or more sequences, one after the other, without padding.
package struct Batch {
    /// A sequence's rows.
    package struct Sequence {
        /// Its first row.
        var start: Int
        /// How many rows.
        var count: Int
        /// What precedes them; nil for a training row, which begins at position 0.
        var cache: KVCache?
    }

    /// The sequences, in the order of their rows.
    package var sequences: [Sequence]

    /// All rows.
    package var count: Int { sequences.last.map { $0.start + $0.count } ?? 0 }

    /// The longest sequence, its past included.
    package var longest: Int {
        sequences.reduce(0) { max($0, $1.count + ($1.cache?.count ?? 0)) }
    }

    /// Writes every row's position within its own sequence.
    package func writePositions(into positions: UnsafeMutablePointer<Int32>) {
        for sequence in sequences {
            let past = sequence.cache?.count ?? 0
            for i in 0..<sequence.count { positions[sequence.start + i] = Int32(past + i) }
        }
    }

    /// What each sequence attends to in block `layer`, whose new keys and values [rows, width] these
    /// are; a cached sequence's are written to its cache first.
    package func spans(
        layer: Int, keys: UnsafePointer<Float>, values: UnsafePointer<Float>, width: Int
    ) -> [AttentionSpan] {
        sequences.map { sequence in
            let (keys, values) = (keys + sequence.start * width, values + sequence.start * width)
            guard let cache = sequence.cache else {
                return AttentionSpan(
                    start: sequence.start, count: sequence.count, past: 0, keys: keys,
                    values: values)
            }
            cache.write(layer: layer, keys: keys, values: values, count: sequence.count)
            return AttentionSpan(
                start: sequence.start, count: sequence.count, past: cache.count,
                keys: cache.keys(layer: layer), values: cache.values(layer: layer))
        }
    }
}
