extension Tokenizer {
    /// The bytes that a token stands for in a text, even where they are no whole character; none for an id
    /// that no token has.
    public func textBytes(of id: Int32) -> [UInt8] {
        guard let spelling = bytes(of: id).map(Array.init) else { return [] }
        guard decodingStages.contains(where: { $0 is ByteLevelDecoding }), !isSpecial(id) else {
            return Array(decode([id]).utf8)
        }
        return spelling.withUnsafeBufferPointer(ByteSpelling.bytes) ?? spelling
    }
}
