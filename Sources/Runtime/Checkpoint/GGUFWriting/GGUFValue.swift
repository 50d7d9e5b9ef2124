/// A metadata value as a GGUF file stores it: its type's number, then the value, little-endian.
public struct GGUFValue: Sendable, Equatable {
    /// Type and value.
    let bytes: [UInt8]

    /// A value that a file holds already.
    init(stored bytes: [UInt8]) { self.bytes = bytes }

    private init(type: UInt32, _ value: [UInt8]) { bytes = Self.little(type) + value }

    /// An unsigned number of 32 bits.
    public static func uint32(_ value: Int) -> GGUFValue {
        GGUFValue(type: 4, little(UInt32(value)))
    }

    /// A number in fp32.
    public static func float32(_ value: Float) -> GGUFValue {
        GGUFValue(type: 6, little(value.bitPattern))
    }

    /// True or false.
    public static func bool(_ value: Bool) -> GGUFValue { GGUFValue(type: 7, [value ? 1 : 0]) }

    /// A string.
    public static func string(_ text: String) -> GGUFValue {
        GGUFValue(type: 8, counted(text.utf8))
    }

    /// An array of strings, each as its bytes.
    public static func strings(_ texts: some Collection<some Collection<UInt8>>) -> GGUFValue {
        array(of: 8, count: texts.count, texts.flatMap { counted($0) })
    }

    /// An array of numbers in fp32.
    public static func float32s(_ values: [Float]) -> GGUFValue {
        array(of: 6, count: values.count, values.flatMap { little($0.bitPattern) })
    }

    /// An array of signed numbers of 32 bits.
    public static func int32s(_ values: [Int32]) -> GGUFValue {
        array(of: 5, count: values.count, values.flatMap(little))
    }

    private static func array(of type: UInt32, count: Int, _ elements: [UInt8]) -> GGUFValue {
        GGUFValue(type: 9, little(type) + little(UInt64(count)) + elements)
    }

    /// A text's count in 64 bits and its bytes.
    static func counted(_ text: some Collection<UInt8>) -> [UInt8] {
        little(UInt64(text.count)) + text
    }

    /// A number's bytes, the least significant first.
    static func little(_ value: some FixedWidthInteger) -> [UInt8] {
        withUnsafeBytes(of: value.littleEndian) { Array($0) }
    }
}
