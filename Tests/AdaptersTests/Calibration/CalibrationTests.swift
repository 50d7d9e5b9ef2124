import Foundation
import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime
import TestSupport
import Testing

@Suite struct CalibrationTests {
    private let compute = Compute(threads: 2, precision: .fp32)
    static let decoders = [
        "llama_plain_mha", "llama_rope3_gqa_tied", "mistral_sw8", "qwen2_bias_tied",
        "qwen3_window", "gemma2", "gemma3", "phi3_longrope",
    ]

    private func source(_ name: String) throws -> any Checkpoint {
        try Checkpoints.open(
            #require(Fixtures.existing("Tests/RuntimeTests/Resources/tiny/\(name)")))
    }

    private func text(_ folder: TemporaryFolder, windows: Int = 6) throws -> CalibrationText {
        var random = SeededGenerator(seed: 4)
        let letters = (0..<4000).map { _ in UInt8(60 + Int(random.uniform() * 30)) }
        let path = folder["text.txt"]
        try Data(letters).write(to: URL(filePath: path))
        return try CalibrationText(
            files: [path],
            tokenizer: Tokenizer(json: ByteTokenizer.json(), source: "tokenizer.json"),
            chatTemplate: nil, count: windows, length: 48)
    }

    private func tensors(_ path: String) throws -> [String: Tensor] {
        Dictionary(
            uniqueKeysWithValues: try SafetensorsFile(path: path + "/model.safetensors").tensors
                .map { ($0.name, $0) })
    }

    /// Σ over tokens of the squared difference of both models' last hidden states' predictions.
    private func divergence(
        _ base: String, from source: any Checkpoint, on windows: [[Int32]]
    )
        throws -> Double
    {
        let (p, q) = (
            try DecoderModel(checkpoint: source, on: compute),
            try DecoderModel(checkpoint: Checkpoints.open(base), on: compute)
        )
        return try windows.reduce(0) { sum, window in
            let reference = Divergence.Predictor(p, capacity: window.count, on: compute)
            let other = Divergence.Predictor(q, capacity: window.count, on: compute)
            return try sum
                + Divergence.measure(window, reference: reference, others: [other], on: compute)[0]
                .divergence
        }
    }

    @Test(arguments: decoders, [Calibration.Quality.scales, .gptq])
    func `the folder is the one of absmax but for scales and codes, and nearer to its source`(
        name: String, quality: Calibration.Quality
    ) throws {
        let (folder, source) = (try TemporaryFolder(), try source(name))
        let text = try text(folder)
        let (plain, calibrated) = (folder["plain"], folder["calibrated"])
        try quantize(
            source: source, to: plain, options: QuantizeOptions(), replace: false, compute: compute)
        var last: Calibration.Progress?
        let (written, report) = try Calibration(quality, text: text).quantize(
            source, to: calibrated, options: QuantizeOptions(), replace: false, compute: compute
        ) { progress in
            #expect(progress.done == (last?.done ?? 0) + 1)
            last = progress
        }
        #expect(last.map { $0.done == $0.total } == true)
        let (before, after) = (try tensors(plain), try tensors(calibrated))
        #expect(Set(before.keys) == Set(after.keys))
        // quant_state is a JSON text, in which one number depends on the scales.
        for (name, tensor) in before where !name.contains("quant_state") {
            #expect(after[name]?.shape == tensor.shape && after[name]?.type == tensor.type)
        }
        #expect(written.quantizedParameters > 0)
        let files = try FileManager.default.contentsOfDirectory(atPath: calibrated)
        #expect(
            Set(files)
                == Set(try FileManager.default.contentsOfDirectory(atPath: plain)).union([
                    Calibration.reportName
                ]))

        let modules = try ModelConfiguration(source).modules.all.count
        #expect(report.layers.count == 2 * modules)
        #expect(Set(report.layers.map(\.path)).count == report.layers.count)
        for layer in report.layers {
            // NF4 of random weights leaves about a hundredth.
            #expect(layer.weightError > 1e-3 && layer.weightError < 0.1, "\(layer)")
            #expect(layer.outputError > 0 && layer.outputError < 0.1, "\(layer)")
            // The searched multiples, refitted and stored in 8 bits; with GPTQ of weights that have moved.
            let most = quality == .gptq ? 2 : 1.3
            #expect(layer.scales.lowerBound > 0.4 && layer.scales.upperBound < most, "\(layer)")
        }
        let json = try JSON(contentsOf: "\(calibrated)/\(Calibration.reportName)")
        #expect(json["quality"]?.string == quality.rawValue)
        #expect(json["layers"]?.array?.count == report.layers.count)
        #expect(json["tokens"]?.int == 6 * 48)

        let (absmax, ours) = (
            try divergence(plain, from: source, on: text.windows),
            try divergence(calibrated, from: source, on: text.windows)
        )
        // On the text itself; gains of random weights over random inputs are small, but they are gains.
        #expect(ours < absmax, "\(name): \(ours), absmax \(absmax)")
    }

    @Test func `layers that are skipped stay floats, and the rest makes up for none of them`()
        throws
    {
        let (folder, source) = (try TemporaryFolder(), try source("llama_plain_mha"))
        let output = folder["out"]
        let (_, report) = try Calibration(.gptq, text: text(folder)).quantize(
            source, to: output, options: QuantizeOptions(skip: ["layers.0.mlp", "v_proj"]),
            replace: false, compute: compute)
        let tensors = try tensors(output)
        for name in ["layers.0.mlp.down_proj", "layers.1.self_attn.v_proj"] {
            #expect(tensors["model.\(name).weight.absmax"] == nil)
            #expect(tensors["model.\(name).weight"]?.type != .u8)
        }
        #expect(report.layers.count == 14 - 3 - 2)
    }

    @Test func `the same text gives the same bytes, whatever the threads`() throws {
        let (folder, source) = (try TemporaryFolder(), try source("llama_rope3_gqa_tied"))
        let text = try text(folder)
        let files = try [1, 2].map { threads in
            let output = folder["out\(threads)"]
            _ = try Calibration(.scales, text: text).quantize(
                source, to: output, options: QuantizeOptions(), replace: false,
                compute: Compute(threads: threads, precision: .fp32))
            return try Data(contentsOf: URL(filePath: output + "/model.safetensors"))
        }
        #expect(files[0] == files[1])
    }

    private struct Stop: Error {}

    @Test(arguments: [Calibration.Quality.scales, .gptq])
    func `work that is stopped leaves nothing behind`(quality: Calibration.Quality) throws {
        let (folder, source) = (try TemporaryFolder(), try source("llama_plain_mha"))
        let text = try text(folder)
        #expect(throws: Stop.self) {
            try Calibration(quality, text: text).quantize(
                source, to: folder["out"], options: QuantizeOptions(), replace: false,
                compute: compute
            ) { if $0.done > 1 { throw Stop() } }
        }
        #expect(folder.names == ["text.txt"])
    }

    @Test func `weights that are not finite are refused, naming the layer`() throws {
        let folder = try TemporaryFolder()
        let path = folder["model"]
        try TinyLanguageModel.write(to: path)
        let file = URL(filePath: path + "/model.safetensors")
        var data = try Data(contentsOf: file)
        let header =
            8 + data[..<8].enumerated().reduce(0) { $0 | Int($1.element) << (8 * $1.offset) }
        for i in stride(from: header, to: data.count - 3, by: 4) {
            data.replaceSubrange(i..<i + 4, with: [0, 0, 0xc0, 0x7f])
        }
        try data.write(to: file)
        for quality in [Calibration.Quality.scales, .gptq] {
            let error = #expect(throws: LorikeetError.self) {
                try Calibration(quality, text: text(folder)).quantize(
                    Checkpoints.open(path), to: folder["out"], options: QuantizeOptions(),
                    replace: false, compute: compute)
            }
            #expect("\(try #require(error))".contains("layers.0"))
        }
        #expect(!FileManager.default.fileExists(atPath: folder["out"]))
    }

    @Test func `recovery lowers the divergence and leaves a PEFT folder beside the base`() throws {
        let (folder, source) = (try TemporaryFolder(), try source("llama_rope3_gqa_tied"))
        let (text, base) = (try text(folder), folder["base"])
        try quantize(
            source: source, to: base, options: QuantizeOptions(), replace: false, compute: compute)
        var recovery = Recovery()
        (recovery.rank, recovery.epochs, recovery.learningRate) = (8, 20, 1e-2)
        var steps = 0
        #expect(throws: Stop.self) {
            try recovery.write(source: source, base: base, text: text, compute: compute) {
                if case .step = $0 { steps += 1 }
                if steps == 3 { throw Stop() }
            }
        }
        #expect(!FileManager.default.fileExists(atPath: "\(base)/recovery"))
        let report = try recovery.write(source: source, base: base, text: text, compute: compute)
        #expect(report.steps == 30)
        #expect(report.tokens == 20 * 6 * 48)
        #expect(report.lastDivergence < 0.8 * report.firstDivergence)
        let configuration = try ModelConfiguration(source)
        let adapter = try Adapters.load("\(base)/recovery", for: configuration)
        #expect(adapter.moduleCount == 14)
        #expect(adapter.parameterCount == report.parameters)

        let (p, q) = (
            try DecoderModel(checkpoint: source, on: compute),
            try DecoderModel(checkpoint: Checkpoints.open(base), on: compute)
        )
        let window = text.windows[0]
        let found = try Divergence.measure(
            window, reference: Divergence.Predictor(p, capacity: 48, on: compute),
            others: [
                Divergence.Predictor(q, capacity: 48, on: compute),
                Divergence.Predictor(q, adapter: adapter, capacity: 48, on: compute),
            ], on: compute)
        #expect(found[1].divergence < found[0].divergence)
    }
}

@Suite struct CalibrationTextTests {
    private let tokenizer: Tokenizer

    init() throws {
        tokenizer = try Tokenizer(json: ByteTokenizer.json(), source: "tokenizer.json")
    }

    private func windows(
        _ files: [String], count: Int = 8, length: Int = 10, template: ChatTemplate? = nil
    ) throws -> [[Int32]] {
        try CalibrationText(
            files: files, tokenizer: tokenizer, chatTemplate: template, count: count, length: length
        ).windows
    }

    private func write(_ text: String, _ name: String, in folder: TemporaryFolder) throws -> String
    {
        try Data(text.utf8).write(to: URL(filePath: folder[name]))
        return folder[name]
    }

    @Test func `windows are spread over each file, as many from each`() throws {
        let folder = try TemporaryFolder()
        let a = try write(
            String((0..<200).map { Character(UnicodeScalar(UInt8(48 + $0 / 10))) }), "a", in: folder
        )
        let b = try write(String(repeating: "b", count: 1000), "b", in: folder)
        let windows = try windows([a, b])
        #expect(windows.count == 8)
        #expect(windows.allSatisfy { $0.count == 10 })
        // Twenty windows of equal characters: every fifth of them.
        #expect(windows[..<4].map { $0[0] } == [48, 53, 58, 63])
        #expect(windows[4...].allSatisfy { $0 == Array(repeating: 98, count: 10) })
    }

    @Test func `short files give what they have`() throws {
        let folder = try TemporaryFolder()
        let a = try write(String(repeating: "a", count: 25), "a", in: folder)
        #expect(try windows([a]).count == 2)
    }

    @Test func `rows are chats in the model's template, end to end`() throws {
        let folder = try TemporaryFolder()
        let rows = try write(TinyLanguageModel.rows(30), "rows.jsonl", in: folder)
        let windows = try windows([rows], count: 100, length: 16)
        #expect(windows.count > 20)
        let text = tokenizer.decode(windows.flatMap { $0 })
        #expect(text.contains("row 3 says 2 times 3"))
    }

    @Test func `the default text is there, and long`() throws {
        let windows = try windows([CalibrationText.standard], count: 1000, length: 512)
        // A hundred thousand bytes, a token each here.
        #expect(windows.count > 180)
        #expect(Set(windows).count == windows.count)
    }

    @Test(arguments: ["", "too short", "missing", "rows.jsonl"])
    func `bad files are refused by name`(kind: String) throws {
        let folder = try TemporaryFolder()
        var path = folder["x"]
        switch kind {
        case "missing": break
        case "rows.jsonl":
            path = try write(
                "{\"text\": \"fine and long enough\"}\n{\"text\": 7}\n", kind, in: folder)
        default: _ = try write(kind, "x", in: folder)
        }
        let error = #expect(throws: LorikeetError.self) { try windows([path]) }
        #expect("\(try #require(error))".contains(path))
    }
}
