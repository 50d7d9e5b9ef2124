import Foundation
import LorikeetRuntime
import TestSupport
import Testing

/// Vocabularies that break their format: refused with an error, or read and used without harm.
struct HostileVocabularyTests {
    private static let names = [
        "llama_pieces.model", "unigram_pieces.model", "ranks.tiktoken", "bert_vocab.txt",
        "byte_level.tokenizer.json",
    ]

    /// The name that the kind has in a model's folder.
    private func folderName(_ name: String) -> String {
        name.hasSuffix("txt")
            ? "vocab.txt" : name.hasSuffix("json") ? "tokenizer.json" : "tokenizer.model"
    }

    /// Reads a vocabulary and uses what came of it; returns whether it was read.
    private func use(_ bytes: [UInt8], as name: String) throws -> Bool {
        try Fixtures.withTemporaryFolder { folder in
            try Data(bytes).write(to: URL(filePath: folder + "/" + name))
            let tokenizer: Tokenizer
            do {
                tokenizer = try Tokenizer(folder: folder)
            } catch let error as LorikeetError {
                #expect(error.subject.hasPrefix(folder), "\(error)")
                return false
            }
            let text = "In the ﬁrst\t beginning 鱻 <s>é</s> [MASK] 1234 e\u{301}"
            let ids = tokenizer.encode(text)
            let bound = Int32(tokenizer.idBound)
            #expect(ids.allSatisfy { $0 >= 0 && $0 < bound })
            _ = tokenizer.decode(ids)
            for id in -1...bound { _ = tokenizer.textBytes(of: id) }
            return true
        }
    }

    @Test(arguments: names)
    func `a vocabulary that is cut off is refused or used`(name: String) throws {
        let bytes = Array(try Data(contentsOf: URL(filePath: TokenizerCases.path(name))))
        // Every cut near the start, where the structure is, then some of the rest.
        for count in Array(0..<64) + stride(from: 64, to: bytes.count, by: bytes.count / 40) {
            _ = try use(Array(bytes[..<count]), as: folderName(name))
        }
        #expect(try use(bytes, as: folderName(name)))
    }

    @Test(arguments: names)
    func `a vocabulary with flipped bits is refused or used`(name: String) throws {
        let bytes = Array(try Data(contentsOf: URL(filePath: TokenizerCases.path(name))))
        var generator = SeededGenerator(seed: 20_261_130)
        var refused = 0
        for _ in 0..<150 {
            var broken = bytes
            for _ in 0..<Int.random(in: 1...8, using: &generator) {
                // The last bytes of a SentencePiece model are its options and its charsmap.
                let isInTail = Bool.random(using: &generator)
                let start = isInTail ? max(0, bytes.count - 3000) : 0
                let index = Int.random(in: start..<bytes.count, using: &generator)
                broken[index] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
            }
            if try !use(broken, as: folderName(name)) { refused += 1 }
        }
        #expect(refused > 0)
    }

    @Test(
        arguments: [
            ([], "pieces"), ([0x0A], "ModelProto"), ([0x0A, 0xFF, 0xFF, 0x01], "ModelProto"),
            ([0x0B, 0x00], "ModelProto"), ([UInt8](repeating: 0xFF, count: 20), "ModelProto"),
            // A piece that is empty, is no UTF-8, has a score that is no number, has an unknown type.
            (piece(""), "pieces[0]"), ([0x0A, 0x03, 0x0A, 0x01, 0xFF], "pieces[0].piece"),
            ([0x0A, 0x08, 0x0A, 0x01, 0x61, 0x15, 0, 0, 0xC0, 0x7F], "pieces[0].score"),
            (piece("a", type: 9), "pieces[0].type"),
            // No unknown piece, two of them, a piece twice.
            (piece("a"), "pieces"), (piece("a", type: 2) + piece("b", type: 2), "pieces"),
            (piece("<unk>", type: 2) + piece("a") + piece("a"), "pieces.a"),
            // Kinds that are not read.
            (piece("<unk>", type: 2) + [0x12, 0x02, 0x18, 0x03], "trainer_spec.model_type"),
            (piece("<unk>", type: 2) + [0x12, 0x02, 0x18, 0x07], "trainer_spec.model_type"),
            (
                piece("<unk>", type: 2) + [0x12, 0x03, 0xC0, 0x01, 0x01],
                "trainer_spec.treat_whitespace_as_suffix"
            ),
            (
                piece("<unk>", type: 2) + piece("a", type: 5) + [0x12, 0x02, 0x18, 0x02],
                "pieces[1].type"
            ),
            // A charsmap without room for what it says it has.
            (
                piece("<unk>", type: 2) + [0x1A, 0x07, 0x12, 0x05, 0xFF, 0xFF, 0xFF, 0x7F, 0x00],
                "normalizer_spec.precompiled_charsmap"
            ),
            // A replacement of a text by a thousandfold one.
            (
                piece("<unk>", type: 2) + [
                    0x1A, 0x8B, 0x10, 0x12, 0x88, 0x10, 4, 0, 0, 0, 0, 0, 0, 0,
                ]
                    + [UInt8](repeating: 0x61, count: 2048),
                "normalizer_spec.precompiled_charsmap"
            ),
        ] as [([UInt8], String)])
    func `a SentencePiece model that is wrong is refused with its key`(
        bytes: [UInt8], key: String
    ) throws {
        try refuses(bytes, as: "tokenizer.model", key)
    }

    @Test(
        arguments: [
            ("AA== 0\nAQ==\n", "line 2"), ("AA== 0\nAQ= 1\n", "line 2"),
            ("AA== 0\nAQ== x\n", "line 2"),
            ("AA== 0\nAQ== 4294967296\n", "line 2"), ("AA== 0\nAQ== 2147483647\n", "ranks.ā"),
            ("AA== 0\nAQ== 0\n", "ranks.ā"), ("AA== 0\nAA== 1\n", "ranks.Ā"),
            ("AA== 0\n", "ranks"),
        ])
    func `ranks that are wrong are refused with their line`(text: String, key: String) throws {
        try refuses(Array(text.utf8), as: "tokenizer.model", key)
    }

    @Test(
        arguments: [
            (Array("a\nb\n".utf8), "tokens"), (Array("[UNK]\na\na\n".utf8), "tokens.a"),
            (Array("[UNK]\n".utf8) + [0xFF, 0x0A], "line 2"), ([], "tokens"),
        ] as [([UInt8], String)])
    func `a vocab.txt that is wrong is refused with its key`(bytes: [UInt8], key: String) throws {
        try refuses(bytes, as: "vocab.txt", key)
    }

    @Test(
        arguments: [
            (["added_tokens_decoder": []], "added_tokens_decoder"),
            (["added_tokens_decoder": ["x": ["content": "a"]]], "added_tokens_decoder.x"),
            (["added_tokens_decoder": ["9": ["content": 1]]], "added_tokens_decoder.9.content"),
            (["added_tokens_decoder": ["1999999999": ["content": "q"]]], "q"),
            (["add_bos_token": "yes"], "add_bos_token"), (["extra_ids": -1], "extra_ids"),
            (["extra_ids": 2_000_000_000], "extra_ids"),
        ] as [(JSON, String)])
    func `a tokenizer_config.json that is wrong is refused with its key`(
        configuration: JSON, key: String
    ) throws {
        let bytes = try Data(contentsOf: URL(filePath: TokenizerCases.path("llama_pieces.model")))
        try refuses(Array(bytes), as: "tokenizer.model", key, configuration: configuration)
    }

    private func refuses(
        _ bytes: [UInt8], as name: String, _ key: String, configuration: JSON? = nil
    ) throws {
        try Fixtures.withTemporaryFolder { folder in
            try Data(bytes).write(to: URL(filePath: folder + "/" + name))
            try configuration?.data().write(to: URL(filePath: folder + "/tokenizer_config.json"))
            let error = #expect(throws: LorikeetError.self) { try Tokenizer(folder: folder) }
            #expect(error?.problem.hasPrefix(key + ":") == true, "\(String(describing: error))")
        }
    }

    /// A piece of a SentencePiece model.
    private static func piece(_ text: String, type: UInt8 = 1) -> [UInt8] {
        let body = [0x0A, UInt8(text.utf8.count)] + Array(text.utf8) + [0x18, type]
        return [0x0A, UInt8(body.count)] + body
    }
}
