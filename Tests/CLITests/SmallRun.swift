import Foundation
import LorikeetRuntime
import TestSupport

/// A folder with a model and data so small that a run of hundreds of steps takes a second.
struct SmallRun {
    /// Enough that a test that waits its turn for a processor still meets the run at work.
    static let steps = 600

    let folder: String
    var model: String { folder + "/model" }
    var data: String { folder + "/rows.jsonl" }

    /// - tiny: which of the models in RuntimeTests' resources.
    init(in folder: String, tiny name: String = "llama_plain_mha") throws {
        self.folder = folder
        let tiny = Fixtures.root.appending(
            path: "Tests/RuntimeTests/Resources/tiny/\(name)")
        try FileManager.default.copyItem(at: tiny, to: URL(filePath: model))
        try Self.tokenizer.data().write(to: URL(filePath: model + "/tokenizer.json"))
        try writeRows(40, to: data)
    }

    /// Texts of a few words.
    func writeRows(_ count: Int, to path: String) throws {
        let rows = (0..<count).map { row in
            let words = (0..<3 + row % 4).map { word in
                String(
                    (0..<2 + (row * word) % 5).map {
                        Self.letters[(7 * row + 3 * word + 5 * $0) % Self.letters.count]
                    })
            }
            return "{\"text\": \"\(words.joined(separator: " "))\"}\n"
        }
        try Data(rows.joined().utf8).write(to: URL(filePath: path))
    }

    /// The arguments of a run that writes `output` into the folder.
    func arguments(_ output: String, _ more: String...) -> [String] {
        [
            "train", "--model", model, "--data", data, "--output", path(output), "--rank", "2",
            "--batch-size", "2", "--steps", "\(Self.steps)", "--learning-rate", "1e-3", "--seed",
            "3",
            "--reflora-warmup", "5", "--threads", "1",
        ] + more
    }

    func path(_ name: String) -> String { "\(folder)/\(name)" }

    func exists(_ name: String) -> Bool { FileManager.default.fileExists(atPath: path(name)) }

    func contents(_ name: String) throws -> Data { try Data(contentsOf: URL(filePath: path(name))) }

    func names(_ name: String) -> [String] {
        (try? FileManager.default.contentsOfDirectory(atPath: path(name)).sorted()) ?? []
    }

    /// The step of the newest whole checkpoint of the run that writes `output`; 0 for none.
    func newestCheckpoint(of output: String) -> Int {
        names(output + ".checkpoints").compactMap { Int($0.dropFirst("step-".count)) }.max() ?? 0
    }

    /// The factors of the adapter in the output's folder.
    func factors(_ output: String) throws -> Data {
        try contents(output + "/adapter_model.safetensors")
    }

    private static let letters = Array("abcdefghijklmnopqrstuvwxyz")

    /// A token a letter: the model has 256.
    private static let tokenizer: JSON = {
        var vocabulary: JSON = ["<|endoftext|>": 0, "Ġ": 1]
        for (index, letter) in letters.enumerated() { vocabulary[String(letter)] = .int(index + 2) }
        let byteLevel: JSON = [
            "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true,
        ]
        return [
            "version": "1.0", "truncation": nil, "padding": nil,
            "added_tokens": [
                [
                    "id": 0, "content": "<|endoftext|>", "single_word": false, "lstrip": false,
                    "rstrip": false, "normalized": false, "special": true,
                ]
            ],
            "normalizer": nil, "pre_tokenizer": byteLevel, "post_processor": nil,
            "decoder": byteLevel,
            "model": [
                "type": "BPE", "dropout": nil, "unk_token": nil, "continuing_subword_prefix": nil,
                "end_of_word_suffix": nil, "fuse_unk": false, "byte_fallback": false,
                "vocab": vocabulary, "merges": [],
            ],
        ]
    }()
}
