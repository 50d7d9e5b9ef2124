import Foundation

/// A charsmap as the `tokenizers` package applies it: to grapheme clusters, then to scalars.
///
/// SentencePiece itself takes the longest string of the map everywhere. The package looks up a cluster of
/// up to five bytes, takes the shortest string of the map that it begins with, and drops the cluster's rest.
struct PrecompiledNormalizer: Normalizer {
    let map: CharacterMap

    private static let longestCluster = 5

    func normalize(_ text: inout [UInt8]) {
        var output: [UInt8] = []
        output.reserveCapacity(text.count)
        text.withUnsafeBufferPointer { buffer in
            var position = 0
            while position < buffer.count {
                // Between ASCII characters a cluster ends, but within a line break.
                if map.leavesUnchanged(buffer, at: position), buffer[position] != 0x0D {
                    output.append(buffer[position])
                    position += 1
                    continue
                }
                let end = buffer.clusterRunEnd(from: position)
                append(buffer, position..<end, to: &output)
                position = end
            }
        }
        text = output
    }

    private func append(
        _ text: UnsafeBufferPointer<UInt8>, _ run: Range<Int>, to output: inout [UInt8]
    ) {
        var position = run.lowerBound
        for cluster in String(decoding: text[run], as: UTF8.self) {
            let end = position + cluster.utf8.count
            if end - position <= Self.longestCluster,
                let match = map.shortest(in: text, position..<end)
            {
                output += match.replacement
                position = end
                continue
            }
            while position < end {
                let next = position + text.scalarLength(at: position)
                if let match = map.shortest(in: text, position..<next) {
                    output += match.replacement
                } else {
                    output += text[position..<next]
                }
                position = next
            }
        }
    }
}

extension PrecompiledNormalizer {
    /// Reads a `Precompiled` of tokenizer.json: the map in base64.
    init(_ section: TokenizerSection) throws {
        let key = "precompiled_charsmap"
        guard let blob = Data(base64Encoded: try section.string(key)) else {
            throw section.failure(.malformed, key, "not base64")
        }
        map = try CharacterMap(blob) {
            section.failure(.malformed, key, $0, expected: $1, got: $2)
        }
    }
}

extension UnsafeBufferPointer<UInt8> {
    /// A place after `start` where a grapheme cluster surely ends: between two ASCII characters, or the end.
    fileprivate func clusterRunEnd(from start: Int) -> Int {
        var end = start + 1
        while end < count {
            let isLineBreak = self[end - 1] == 0x0D && self[end] == 0x0A
            if self[end - 1] < 0x80, self[end] < 0x80, !isLineBreak { return end }
            end += 1
        }
        return end
    }
}
