public import LorikeetRuntime

/// A tokenizer of bytes, so that a text's tokens are plain to see: "a" is 97.
public enum ByteTokenizer {
    /// Its tokenizer.json; the special tokens `added` have the ids from 256 on.
    public static func json(added: [String] = []) -> JSON {
        // GPT-2's letters for bytes: the printable ones stand for themselves.
        var vocabulary = JSON.Object()
        var next: UInt32 = 256
        for byte in UInt32(0)..<256 {
            let isPlain =
                (33...126).contains(byte) || (161...172).contains(byte)
                || (174...255).contains(byte)
            guard let letter = Unicode.Scalar(isPlain ? byte : next) else {
                preconditionFailure("no letter for the byte \(byte)")
            }
            next += isPlain ? 0 : 1
            vocabulary[String(Character(letter))] = .int(Int(byte))
        }
        let added: [JSON] = added.enumerated().map { index, text in
            [
                "id": .int(256 + index), "content": .string(text), "single_word": false,
                "lstrip": false, "rstrip": false, "normalized": false, "special": true,
            ]
        }
        let byteLevel: JSON = ["type": "ByteLevel", "add_prefix_space": false, "use_regex": false]
        return [
            "added_tokens": .array(added), "normalizer": nil, "pre_tokenizer": byteLevel,
            "post_processor": nil, "decoder": byteLevel,
            "model": ["type": "BPE", "vocab": .object(vocabulary), "merges": []],
        ]
    }
}
