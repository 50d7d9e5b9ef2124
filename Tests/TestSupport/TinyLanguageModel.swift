import Foundation
import LorikeetRuntime

/// A model of two small blocks whose tokens are bytes: small enough to be trained in a test.
public enum TinyLanguageModel {
    /// Writes the model into `folder`.
    ///
    /// - Returns: its path.
    public static func write(into folder: String) throws -> String {
        let path = folder + "/model"
        let tiny = Fixtures.root.appending(
            path: "Tests/RuntimeTests/Resources/tiny/llama_plain_mha"
        ).path(percentEncoded: false)
        try FileManager.default.copyItem(atPath: tiny, toPath: path)
        try tokenizer.data().write(to: URL(filePath: path + "/tokenizer.json"))
        return path
    }

    /// GPT-2's spelling of bytes, and no merges.
    private static var tokenizer: JSON {
        let printable = Array(33...126) + Array(161...172) + Array(174...255)
        var vocabulary = JSON.Object()
        var others: UInt32 = 256
        for byte in 0..<256 {
            var code = UInt32(byte)
            if !printable.contains(byte) { (code, others) = (others, others + 1) }
            if let scalar = Unicode.Scalar(code) {
                vocabulary[String(Character(scalar))] = .int(byte)
            }
        }
        let byteLevel: JSON = [
            "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true,
        ]
        return [
            "version": "1.0", "added_tokens": [], "normalizer": nil, "pre_tokenizer": byteLevel,
            "post_processor": nil, "decoder": byteLevel,
            "model": ["type": "BPE", "vocab": .object(vocabulary), "merges": []],
        ]
    }

    /// Rows for it, as lines of JSON.
    public static func rows(_ count: Int) -> String {
        (0..<count).map { "{\"text\": \"row \($0) says \($0 * $0 % 7) times \($0 % 5)\"}\n" }
            .joined()
    }
}
