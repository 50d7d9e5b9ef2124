extension Tokenizer {
    /// Bytes that a tokenizer takes whose files have so many: measured.
    public static func memory(fileBytes: Int) -> Int { 0 }
}
