import Testing

@Test func placeholderAdapters() { #expect(Bool(true)) }
