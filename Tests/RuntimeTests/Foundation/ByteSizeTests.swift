import LorikeetRuntime
import Testing

@Suite struct ByteSizeTests {
    @Test(arguments: [
        ("1", 1), ("2000000000", 2_000_000_000), ("2G", 2_000_000_000), ("2gb", 2_000_000_000),
        ("512M", 512_000_000), ("1.5GiB", 1_610_612_736), ("1Ki", 1024), ("3k", 3000),
        ("0.5T", 500_000_000_000), ("7 B", nil), ("", nil), ("G", nil), ("-1G", nil), ("0", nil),
        ("0.1", nil), (".5G", nil), ("5.G", nil), ("1e9", nil), ("2X", nil), ("2GG", nil),
        ("2iB", nil), ("99999999T", nil), ("1.2.3G", nil), ("٣G", nil),
    ])
    func `amounts are read as people write them, and nothing else is`(
        text: String, bytes: Int?
    ) {
        #expect(ByteSize(text)?.bytes == bytes)
    }

    @Test func `amounts are written in decimal units`() {
        #expect(ByteSize(bytes: 999).description == "999 B")
        #expect(ByteSize(bytes: 93_840_000).description == "93.8 MB")
        #expect(ByteSize(bytes: 2_000_000_000_000).description == "2.0 TB")
    }
}
