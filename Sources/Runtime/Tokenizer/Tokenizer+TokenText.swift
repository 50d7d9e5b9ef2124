extension Tokenizer {
    /// A function that gives the bytes of a token in the middle of a text, before they are repaired where
    /// they are no whole characters; nil for an id that no token has.
    func textReader() -> (Int32) -> [UInt8]? {
        if decodingStages.contains(where: { $0 is ByteLevelDecoding }) {
            return { id in
                self.bytes(of: id).map { token in
                    token.withUnsafeBufferPointer(ByteSpelling.bytes) ?? Array(token)
                }
            }
        }
        // After some text the stages leave a token its leading space.
        let opening: [UInt8] = [UInt8(ascii: "x")]
        let fallsBack = decodingStages.contains { $0 is ByteFallbackDecoding }
        return { id in
            guard let token = self.bytes(of: id) else { return nil }
            if fallsBack, let byte = ByteFallbackDecoding.byte(of: Array(token)) { return [byte] }
            var decoder = self.streamingDecoder()
            var text = Array(decoder.append(piece: opening).utf8)
            text += decoder.append(piece: Array(token)).utf8
            text += decoder.finish().utf8
            return Array(text.dropFirst(opening.count))
        }
    }
}
