import Foundation
import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime
import TestSupport
import Testing

struct AdaptersTests {
    @Test(arguments: ["plain", "patterns", "regex_bf16", "all_linear_f16"])
    func `the factors are those in the file, widened to fp32`(name: String) throws {
        let folder = try resource(name)
        let adapter = try Adapters.load(folder, for: smallModel)
        let file = try GoldenFile(URL(fileURLWithPath: folder + "/adapter_model.safetensors"))
        #expect(adapter.name == name)
        #expect(adapter.moduleCount * 2 == file.names.count)
        for (path, delta) in adapter.deltas {
            #expect(
                Array(delta.a.elements) == file.floats("base_model.model.\(path).lora_A.weight"))
            #expect(
                Array(delta.b.elements) == file.floats("base_model.model.\(path).lora_B.weight"))
        }
        let outside = ModulePath(layer: 9, module: .query)
        #expect(adapter.delta(at: outside) == nil)
    }

    @Test(arguments: ["plain", "patterns", "all_linear_f16"], FactorType.allCases)
    func `what is written is read again`(name: String, type: FactorType) throws {
        let folder = try TemporaryFolder()
        let adapter = try Adapters.load(resource(name), for: smallModel)
        try Adapters.writePeftFolder(
            at: folder["copy"], configuration: adapter.configuration, deltas: adapter.deltas,
            type: type,
            readMe: "# A copy\n")
        let copy = try Adapters.load(folder["copy"], for: smallModel)
        #expect(folder.names == ["copy"])
        #expect(copy.configuration == adapter.configuration)
        switch type {
        case .fp32: #expect(copy.digest == adapter.digest)
        case .bf16:
            for (path, delta) in adapter.deltas {
                let got = try #require(copy.delta(at: path))
                for (rounded, exact) in zip(got.a.elements, delta.a.elements) {
                    // 8 bits of precision, rounded to nearest.
                    #expect(abs(rounded - exact) <= abs(exact) / 256)
                }
            }
        }
    }

    @Test func `fp32 is written byte for byte as PEFT writes it`() throws {
        let folder = try TemporaryFolder()
        let plain = try resource("plain")
        let adapter = try Adapters.load(plain, for: smallModel)
        try Adapters.writePeftFolder(
            at: folder["copy"], configuration: adapter.configuration, deltas: adapter.deltas)
        for name in ["adapter_config.json", "adapter_model.safetensors"] {
            #expect(try contents(folder["copy/" + name]) == contents(plain + "/" + name))
        }
    }

    @Test func `an existing folder is replaced only when asked`() throws {
        let folder = try TemporaryFolder()
        let adapter = try Adapters.load(resource("plain"), for: smallModel)
        func write(replace: Bool) throws {
            try Adapters.writePeftFolder(
                at: folder["out"], configuration: adapter.configuration, deltas: adapter.deltas,
                replace: replace)
        }
        try write(replace: false)
        #expect(try failure { try write(replace: false) }.code == .exists)
        try write(replace: true)
        #expect(folder.names == ["out"])
    }

    @Test func `a configuration that does not describe the factors is not written`() throws {
        let folder = try TemporaryFolder()
        let adapter = try Adapters.load(resource("plain"), for: smallModel)
        var configuration = adapter.configuration
        configuration.alpha = 32
        let error = try failure {
            try Adapters.writePeftFolder(
                at: folder["out"], configuration: configuration, deltas: adapter.deltas)
        }
        #expect(error.code == .invalidArgument)
        #expect(folder.names.isEmpty)
    }

    @Test func `the digest is of the content, not of name or file`() throws {
        let folder = try TemporaryFolder()
        try writeFolder(folder["one"], queryFactors(), settings: [queryTargets])
        try writeFolder(folder["two"], queryFactors().reversed(), settings: [queryTargets])
        try writeFolder(
            folder["scaled"], queryFactors(), settings: [queryTargets, ("lora_alpha", 9)])
        var changed = queryFactors()
        changed[3] = RawTensor(changed[3].name, [32, 4], filledWith: 2)
        try writeFolder(folder["changed"], changed, settings: [queryTargets])
        let digests = try ["one", "two", "scaled", "changed"].map {
            try Adapters.load(folder[$0], for: smallModel).digest
        }
        #expect(digests[0] == digests[1])
        #expect(Set(digests).count == 3)
    }

    @Test func `the same numbers under other labels are another adapter`() throws {
        let folder = try TemporaryFolder()
        let digests = try [nil, ["bad", "good"], ["good", "bad"], ["bad", "good"]].map { labels in
            try writeFolder(folder["a"], queryFactors(), settings: [queryTargets])
            if let labels {
                let task = SequenceTask(kind: .classification, labels: labels)
                try write([UInt8](task.json.data()), to: folder["a"] + "/task.json")
            }
            return try Adapters.inspect(folder["a"]).digest
        }
        #expect(Set(digests).count == 3 && digests[1] == digests[3])
    }

    @Test(arguments: ["", "base_model.model."], ["", ".default"])
    func `names are read with and without prefix and adapter name`(
        prefix: String, suffix: String
    ) throws {
        let folder = try TemporaryFolder()
        var tensors = queryFactors()
        for index in tensors.indices {
            tensors[index].name = tensors[index].name
                .replacingOccurrences(of: "base_model.model.", with: prefix)
                .replacingOccurrences(of: ".weight", with: suffix + ".weight")
        }
        try writeFolder(folder["adapter"], tensors, settings: [queryTargets])
        #expect(try Adapters.load(folder["adapter"], for: smallModel).moduleCount == 2)
    }

    @Test func `a start for training may change nothing`() throws {
        let folder = try TemporaryFolder()
        var tensors = queryFactors()
        for index in [1, 3] {
            tensors[index] = RawTensor(tensors[index].name, [32, 4], filledWith: 0)
        }
        try writeFolder(folder["start"], tensors, settings: [queryTargets])
        let error = try failure { _ = try Adapters.load(folder["start"], for: smallModel) }
        #expect(error.problem.contains("changes nothing"))
        #expect(
            try Adapters.load(folder["start"], for: smallModel, allowNoEffect: true).moduleCount
                == 2)
    }
}

/// Adapters that must be refused, each for its own reason.
struct AdaptersRefusalTests {
    private func load(
        _ tensors: [RawTensor], _ settings: [(String, JSON)] = [queryTargets]
    ) throws
        -> LorikeetError
    {
        let folder = try TemporaryFolder()
        try writeFolder(folder["adapter"], tensors, settings: settings)
        return try failure { _ = try Adapters.load(folder["adapter"], for: smallModel) }
    }

    @Test(arguments: [
        "base_model.model.model.layers.0.self_attn.x_proj.lora_A.weight",
        "base_model.model.model.layers.0.mlp.q_proj.lora_A.weight",
        "base_model.model.model.layers.00.self_attn.q_proj.lora_A.weight",
        "base_model.model.model.layers.-1.self_attn.q_proj.lora_A.weight",
        "base_model.model.model.layers.0.self_attn.q_proj.lora_C.weight",
        "base_model.model.model.layers.0.self_attn.q_proj.lora_A.bias",
        "base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector.bias",
        "base_model.model.model.layers.0.self_attn.q_proj.lora_A.other.weight",
        "base_model.model.lm_head.lora_A.weight", "model.embed_tokens.lora_embedding_A", "x", "",
    ])
    func `a factor that matches no module is named`(name: String) throws {
        let error = try load(queryFactors() + [RawTensor(name, [4, 32], filledWith: 1)])
        #expect(error.code == .mismatch)
        #expect(error.got == name)
    }

    @Test func `a layer past the base's last is refused`() throws {
        var tensors = queryFactors()
        tensors[2].name = tensors[2].name.replacingOccurrences(of: "layers.1", with: "layers.2")
        tensors[3].name = tensors[3].name.replacingOccurrences(of: "layers.1", with: "layers.2")
        let error = try load(tensors)
        #expect(error.code == .mismatch)
        #expect(error.expected == "layers 0 to 1" && error.got == "layer 2")
    }

    @Test func `one factor without the other is refused`() throws {
        let error = try load(Array(queryFactors().dropLast()))
        #expect(error.code == .mismatch)
        #expect(error.problem.contains("model.layers.1.self_attn.q_proj has no lora_B"))
    }

    @Test func `the same factor twice under two names is refused`() throws {
        var copy = queryFactors()[0]
        copy.name = copy.name.replacingOccurrences(of: ".weight", with: ".default.weight")
        #expect(try load(queryFactors() + [copy]).problem.contains("two tensors"))
    }

    @Test func `the same name twice is refused`() throws {
        #expect(try load(queryFactors() + [queryFactors()[0]]).code == .malformed)
    }

    @Test(arguments: [
        (0, [4, 31]), (0, [3, 32]), (0, [128]), (0, [4, 32, 1]), (0, [32, 4]), (1, [33, 4]),
        (1, [4, 32]),
        (0, [0, 32]), (1, [0, 4]), (0, [4, 0]),
    ])
    func `a wrong shape is refused with both shapes`(index: Int, shape: [Int]) throws {
        var tensors = queryFactors()
        tensors[index] = RawTensor(tensors[index].name, shape, filledWith: 1)
        let error = try load(tensors)
        #expect(error.code == .mismatch)
        #expect(error.expected?.contains("4") == true && error.got == "\(shape)")
    }

    @Test(arguments: [Float.nan, .infinity, -.infinity])
    func `a number that is not finite is refused`(value: Float) throws {
        var tensors = queryFactors()
        var values = [Float](repeating: 1, count: 128)
        values[77] = value
        tensors[3] = RawTensor(tensors[3].name, [32, 4], values)
        let error = try load(tensors)
        #expect(error.code == .malformed)
        #expect(error.problem.contains(tensors[3].name))
        #expect(error.got == "\(value) at element 77")
    }

    @Test(arguments: [[0, 2], [1, 3], [0, 3]])
    func `an adapter that changes nothing is refused`(zeros: [Int]) throws {
        var tensors = queryFactors()
        for index in zeros {
            tensors[index] = RawTensor(tensors[index].name, tensors[index].shape, filledWith: 0)
        }
        #expect(try load(tensors).problem.contains("changes nothing"))
    }

    @Test func `targets without factors and factors without target are refused`() throws {
        #expect(try load(queryFactors(), []).problem.contains("which has no factors"))
        #expect(
            try load(queryFactors(), [("target_modules", ["v_proj"])]).code == .mismatch)
        #expect(
            try load(queryFactors(), [("target_modules", ["layers.0.self_attn.q_proj"])]).problem
                .contains("does not name"))
    }

    @Test func `a rank other than the configured one is refused`() throws {
        let error = try load(queryFactors(), [queryTargets, ("r", 8)])
        #expect(error.expected == "[8, in]" && error.got == "[4, 32]")
        #expect(
            try load(queryFactors(), [queryTargets, ("rank_pattern", ["layers.1.*": 5])]).expected
                == "[5, in]")
    }

    @Test func `factors that are no floats are refused`() throws {
        var tensors = queryFactors()
        tensors[0].type = "I32"
        #expect(try load(tensors).code == .unsupported)
        tensors[0].type = "U8"
        tensors[0].bytes = [UInt8](repeating: 1, count: 128)
        #expect(try load(tensors).code == .unsupported)
    }

    @Test func `an adapter without factors is refused`() throws {
        #expect(try load([]).problem.contains("no factors"))
    }

    @Test func `a missing or foreign file is refused`() throws {
        let folder = try TemporaryFolder()
        func load(_ name: String) throws -> LorikeetError {
            try failure { _ = try Adapters.load(folder[name], for: smallModel) }
        }
        #expect(try load("nothing").code == .notFound)
        try writeFolder(folder["adapter"], queryFactors(), settings: [queryTargets])
        let files = FileManager.default
        try files.moveItem(
            atPath: folder["adapter/adapter_model.safetensors"],
            toPath: folder["adapter/adapter_model.bin"])
        let error = try load("adapter")
        #expect(error.code == .unsupported && error.problem.contains("pickle"))
        try files.removeItem(atPath: folder["adapter/adapter_model.bin"])
        #expect(try load("adapter").code == .notFound)
        try write(Array("{".utf8), to: folder["adapter/adapter_config.json"])
        try write(safetensors(queryFactors()), to: folder["adapter/adapter_model.safetensors"])
        #expect(try load("adapter").code == .malformed)
    }

    @Test func `a truncation of the factors is refused wherever it is`() throws {
        let folder = try TemporaryFolder()
        try writeFolder(folder["adapter"], queryFactors(), settings: [queryTargets])
        let whole = try contents(folder["adapter/adapter_model.safetensors"])
        // Every byte of the header, and then each 16th.
        for count in 0..<whole.count where count < 700 || count % 16 == 0 {
            try write(Array(whole[..<count]), to: folder["adapter/adapter_model.safetensors"])
            #expect(throws: LorikeetError.self) {
                try Adapters.load(folder["adapter"], for: smallModel)
            }
        }
    }
}
