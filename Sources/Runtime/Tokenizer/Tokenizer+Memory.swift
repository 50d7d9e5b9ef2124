extension Tokenizer {
    /// Bytes that a tokenizer takes whose files have so many.
    ///
    /// Vocabulary, merges and the tables that find them: measured.
    public static func memory(fileBytes: Int) -> Int { 2 * fileBytes }
}
