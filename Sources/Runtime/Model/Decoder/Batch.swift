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

    /// The longest sequence whose attention is in floats, its past included.
    var longestInFloats: Int {
        sequences.reduce(0) { longest, sequence in
            guard sequence.cache?.halves(layer: 0) == nil else { return longest }
            return max(longest, sequence.count + (sequence.cache?.count ?? 0))
        }
    }

    /// Writes every row's position within its own sequence.
    package func writePositions(into positions: UnsafeMutablePointer<Int32>) {
        for sequence in sequences {
            let past = sequence.cache?.count ?? 0
            for i in 0..<sequence.count { positions[sequence.start + i] = Int32(past + i) }
        }
    }

    /// Appends the new keys and values [rows, width] of block `layer` to the sequences' caches.
    func writeCaches(
        layer: Int, keys: UnsafePointer<Float>, values: UnsafePointer<Float>, width: Int,
        on compute: Compute
    ) {
        for sequence in sequences {
            sequence.cache?.write(
                layer: layer, keys: keys + sequence.start * width,
                values: values + sequence.start * width, count: sequence.count, on: compute)
        }
    }

    /// What each sequence attends to in a block in floats.
    ///
    /// Its cache's keys and values, or its own [rows, width]; sequences whose caches are halves are left
    /// out.
    package func spans(
        layer: Int, keys: UnsafePointer<Float>, values: UnsafePointer<Float>, width: Int
    ) -> [AttentionSpan] {
        sequences.compactMap { sequence in
            let own = (keys + sequence.start * width, values + sequence.start * width)
            guard
                let (keys, values) = sequence.cache?.floats(layer: layer, written: sequence.count)
                    ?? (sequence.cache == nil ? own : nil)
            else { return nil }
            return AttentionSpan(
                start: sequence.start, count: sequence.count, past: sequence.cache?.count ?? 0,
                keys: keys, values: values)
        }
    }
}
