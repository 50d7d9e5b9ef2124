extension Tokenizer {
    /// The bytes that a token stands for in a text, even where they are no whole character; none for an id
    /// that no token has.
    public func textBytes(of id: Int32) -> [UInt8] {
        isSpecial(id) ? bytes(of: id).map(Array.init) ?? [] : textReader()(id) ?? []
    }
}
