import Foundation
import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime
import Testing

/// Runs of the toy model that are cut short and taken up.
@Suite struct CheckpointTests {
    private static let steps = 12
    private let compute = Compute(threads: 2)
    private let identity: RunIdentity = RunIdentity(["--rank": "4", "--seed": "0"])

    private func trainer(
        _ method: MethodName, _ batching: TrainingOptions.Batching = .inOrder,
        objective: ObjectiveName = .likelihood
    ) throws -> Trainer {
        var options = TrainingOptions()
        options.batching = batching
        options.objective = objective
        options.method = method
        options.length = .steps(Self.steps)
        options.learningRate = 0.02
        options.schedule = .cosine
        options.warmup = 3
        options.maximumGradientNorm = 0.3
        options.refactoringWarmup = 4
        options.optimizer.weightDecay = 0.01
        options.seed = 5
        return try Trainer(
            objective == .directPreference ? ToyModel.pairs : ToyModel.rows, options: options)
    }

    private func state(_ trainer: Trainer) -> TrainingState {
        let scale = trainer.options.method.scale(rank: ToyModel.rank, alpha: 8)
        return trainer.beginning(ToyModel.adapter(scale: scale, for: trainer.options.method))
    }

    private func open(
        _ folder: TemporaryFolder, every interval: Int = 1, keeping count: Int = 2,
        resumes: Bool = true, identity: RunIdentity? = nil, replace: Bool = false
    ) throws -> CheckpointFolder {
        var options = CheckpointFolder.Options(every: interval)
        (options.count, options.resumes) = (count, resumes)
        return try CheckpointFolder(
            folder["run"], options: options, identity: identity ?? self.identity, replace: replace)
    }

    /// What a run came to: the bits of all numbers that it changed, its metrics without times, its notes.
    private struct Outcome: Equatable {
        var numbers: [[UInt64]]
        var metrics: [JSON]
        var summary: Trainer.Summary

        init(_ state: TrainingState, _ summary: Trainer.Summary, _ metrics: [JSON]) {
            func bits(_ buffer: Buffer<Float>) -> [UInt64] {
                buffer.array.map { UInt64($0.bitPattern) }
            }
            let factors = state.adapter.modules.flatMap(\.parameters).map { bits($0.values) }
            numbers =
                factors
                + state.optimizer.state.map { tensor in
                    switch tensor.elements {
                    case .floats(let buffer): bits(buffer)
                    case .doubles(let buffer): buffer.array.map(\.bitPattern)
                    }
                }
            self.metrics = metrics.map { row in
                var row = row
                for key in ["seconds", "tokens_per_second", "refactoring_seconds"] {
                    row[key] = nil
                }
                return row
            }
            self.summary = summary
            self.summary.seconds = 0
        }
    }

    /// Runs from the newest checkpoint to `last`, or to the end.
    private func run(
        _ trainer: Trainer, _ checkpoints: CheckpointFolder?, in folder: TemporaryFolder,
        to last: Int = steps, note: (String) -> Void = { _ in }
    ) throws -> Outcome {
        var state = state(trainer)
        let earlier = try checkpoints?.restore(&state, totalSteps: Self.steps, note: note)
        let path = folder["metrics.jsonl"]
        try? FileManager.default.removeItem(atPath: path)
        let metrics = try MetricsWriter(path: path)
        if let earlier { try metrics.append(earlier) }
        let summary = try trainer.run(
            ToyModel(), from: state, compute: compute, metrics: metrics, checkpoints: checkpoints
        ) { $0.step == last ? .stop : .proceed }
        let rows = try String(decoding: metrics.contents(), as: UTF8.self).split(separator: "\n")
        return Outcome(state, summary, try rows.map { try JSON(parsing: String($0), source: path) })
    }

    private func names(_ folder: TemporaryFolder) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: folder["run"]).sorted()
    }

    /// A folder with checkpoints after steps 6 and 7, stopped there.
    private func stopped(_ method: MethodName = .refloraS) throws -> TemporaryFolder {
        let folder = try TemporaryFolder()
        _ = try run(trainer(method), open(folder), in: folder, to: 7)
        #expect(try names(folder) == ["step-000006", "step-000007"])
        return folder
    }

    // MARK: Going on

    @Test(arguments: MethodName.allCases)
    func `a run stopped after any step and resumed ends as one that was not`(
        method: MethodName
    ) throws {
        let trainer = try trainer(method)
        let whole = try run(trainer, nil, in: TemporaryFolder())
        #expect(whole.metrics.map { $0["step"]?.int } == (1...Self.steps).map { $0 })
        if method == .refloraS {
            #expect(whole.numbers.contains { $0.count == 1 && $0 != [Double(1).bitPattern] })
        }
        for last in 1..<Self.steps {
            let folder = try TemporaryFolder()
            // An interval that is never due: the stop itself is what saves.
            let part = try run(trainer, open(folder, every: 100), in: folder, to: last)
            #expect(part.summary.isStopped && part.summary.steps == last)
            #expect(try run(trainer, open(folder, every: 100), in: folder) == whole, "\(last)")
        }
    }

    @Test(arguments: [TrainingOptions.Batching.inOrder, .packed, .byLength])
    func `a run resumed after every step ends as one that was not`(
        batching: TrainingOptions.Batching
    ) throws {
        let trainer = try trainer(.reflora, batching)
        let folder = try TemporaryFolder()
        for last in 1..<Self.steps {
            _ = try run(trainer, open(folder), in: folder, to: last)
        }
        let resumed = try run(trainer, open(folder), in: folder)
        #expect(try resumed == run(trainer, nil, in: TemporaryFolder()))
    }

    @Test func `a run with preferences resumed after every step ends as one that was not`() throws {
        let trainer = try trainer(.reflora, objective: .directPreference)
        let folder = try TemporaryFolder()
        for last in 1..<Self.steps {
            _ = try run(trainer, open(folder), in: folder, to: last)
        }
        let whole = try run(trainer, nil, in: TemporaryFolder())
        #expect(try run(trainer, open(folder), in: folder) == whole)
    }

    @Test func `without a checkpoint a run begins, and its empty folder goes`() throws {
        let folder = try TemporaryFolder()
        let trainer = try trainer(.lora)
        var state = state(trainer)
        do {
            let checkpoints = try open(folder)
            #expect(try checkpoints.restore(&state, totalSteps: Self.steps) == nil)
            // The folder goes with the object, which optimized code lets go of after its last use.
            withExtendedLifetime(checkpoints) { #expect(folder.names == ["run"]) }
        }
        #expect(folder.names == [])
        do {
            let checkpoints = try open(folder)
            _ = try run(trainer, checkpoints, in: folder)
            checkpoints.removeCheckpoints()
        }
        #expect(folder.names == ["metrics.jsonl"])
    }

    @Test func `a checkpoint is due at every so many steps, and the newest are kept`() throws {
        for (interval, count, expected) in [
            (5, 1, [10]), (5, 2, [5, 10]), (3, 2, [9, 12]), (1, 3, [10, 11, 12]),
        ] {
            let folder = try TemporaryFolder()
            _ = try run(trainer(.lora), open(folder, every: interval, keeping: count), in: folder)
            #expect(
                try names(folder) == expected.map { "step-0000\($0 < 10 ? "0" : "")\($0)" })
        }
    }

    @Test func `sha256sum's file states the digests, and others read the tensors`() throws {
        let folder = try stopped()
        let checkpoint = folder["run/step-000007"]
        let stated = String(decoding: try contents(checkpoint + "/SHA256SUMS"), as: UTF8.self)
        let files = ["checkpoint.json", "state.safetensors", "metrics.jsonl"]
        let expected = try files.map { "\(sha256(try contents("\(checkpoint)/\($0)")))  \($0)\n" }
        #expect(stated == expected.joined())
        let tensors = try SafetensorsFile(path: checkpoint + "/state.safetensors").tensors
        #expect(tensors.count == 16)
        #expect(
            tensors.contains {
                $0.name == "model.layers.0.self_attn.q_proj.lora_A.exp_avg_sq"
                    && $0.shape == [ToyModel.rank, ToyModel.input]
            })
    }

    // MARK: Refusals

    @Test func `a checkpoint of another run is refused, naming the flag`() throws {
        let folder = try stopped()
        var state = state(try trainer(.refloraS))
        for (other, flag, expected, got) in [
            (RunIdentity(["--rank": "8", "--seed": "0"]), "--rank", "8", "4"),
            (RunIdentity(["--rank": "4", "--seed": "1"]), "--seed", "1", "0"),
            (RunIdentity(["--rank": "4"]), "--seed", "none", "0"),
            (RunIdentity(["--rank": "4", "--seed": "0", "--new": "x"]), "--new", "x", "none"),
        ] {
            let checkpoints = try open(folder, identity: other)
            let error = try failure {
                _ = try checkpoints.restore(&state, totalSteps: Self.steps)
            }
            #expect(error.code == .mismatch && error.problem.contains(flag))
            #expect(error.expected == expected && error.got == got && error.advice != nil)
        }
    }

    @Test func `checkpoints are neither overwritten nor shared unasked`() throws {
        let folder = try stopped()
        #expect(try failure { _ = try open(folder, resumes: false) }.code == .exists)
        let checkpoints = try open(folder)
        #expect(try failure { _ = try open(folder) }.problem.contains("another run"))
        withExtendedLifetime(checkpoints) {}
        #expect(try names(folder).count == 2)
    }

    @Test func `a run that begins anew removes the old checkpoints`() throws {
        let folder = try stopped()
        do { _ = try open(folder, resumes: false, replace: true) }
        #expect(folder.names == ["metrics.jsonl"])
    }

    // MARK: Damage

    /// Resumes a damaged folder: one note of damage, and the run ends as it would have.
    private func expectFallback(
        _ folder: TemporaryFolder, to step: Int, sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        var state = state(try trainer(.refloraS))
        var notes: [String] = []
        let checkpoints = try open(folder)
        _ = try checkpoints.restore(&state, totalSteps: Self.steps) { notes.append($0) }
        #expect(state.summary.steps == step, "\(notes)", sourceLocation: sourceLocation)
        #expect(state.optimizer.stepCount == step, sourceLocation: sourceLocation)
        #expect(notes.count == 2, "\(notes)", sourceLocation: sourceLocation)
        #expect(
            notes.first?.contains("damaged") == true, "\(notes)", sourceLocation: sourceLocation)
    }

    private func damaged(
        _ name: String, _ body: (inout [UInt8]) -> Void, in folder: TemporaryFolder
    ) throws {
        let path = folder["run/step-000007/\(name)"]
        let good = try contents(path)
        var bad = good
        body(&bad)
        try write(bad, to: path)
        try expectFallback(folder, to: 6)
        try write(good, to: path)
    }

    @Test(arguments: ["checkpoint.json", "state.safetensors", "metrics.jsonl", "SHA256SUMS"])
    func `every damaged byte and every truncation is noticed`(name: String) throws {
        let folder = try stopped()
        let count = try contents(folder["run/step-000007/\(name)"]).count
        for index in stride(from: 0, to: count, by: 7) {
            try damaged(name, { $0[index] ^= 1 << (index % 8) }, in: folder)
            try damaged(name, { $0.removeSubrange(index...) }, in: folder)
        }
        try damaged(name, { $0.append(0) }, in: folder)
        try FileManager.default.removeItem(atPath: folder["run/step-000007/\(name)"])
        try expectFallback(folder, to: 6)
    }

    @Test func `a run resumed before a damaged checkpoint ends the same and replaces it`() throws {
        let folder = try stopped()
        try write([], to: folder["run/step-000007/state.safetensors"])
        let trainer = try trainer(.refloraS)
        let resumed = try run(trainer, open(folder), in: folder)
        #expect(try resumed == run(trainer, nil, in: TemporaryFolder()))
        #expect(try names(folder) == ["step-000011", "step-000012"])
    }

    @Test func `a renamed checkpoint is no checkpoint of that step`() throws {
        let folder = try stopped()
        try FileManager.default.moveItem(
            atPath: folder["run/step-000007"], toPath: folder["run/step-000009"])
        try expectFallback(folder, to: 6)
    }

    @Test func `when no checkpoint is intact the run does not begin anew by itself`() throws {
        let folder = try stopped()
        for step in [6, 7] { try write([], to: folder["run/step-00000\(step)/SHA256SUMS"]) }
        var state = state(try trainer(.refloraS))
        let error = try failure {
            _ = try open(folder).restore(&state, totalSteps: Self.steps)
        }
        #expect(error.code == .malformed && error.problem.contains("intact"))
        #expect(error.advice != nil)
    }

    @Test func `what a killed run left half-written is removed, other files stay`() throws {
        let folder = try stopped()
        for name in ["step-000008.partial-17", "step-000005.removed", "step-notes", "output"] {
            try FileManager.default.createDirectory(
                atPath: folder["run/\(name)"], withIntermediateDirectories: true)
        }
        do { _ = try open(folder) }
        #expect(try names(folder) == ["output", "step-000006", "step-000007", "step-notes"])
    }

    /// Changes the newest checkpoint and makes its digests right again.
    private func forged(
        _ folder: TemporaryFolder, manifest: (inout JSON) -> Void = { _ in },
        tensors: (inout [RawTensor]) -> Void = { _ in }
    ) throws {
        let checkpoint = folder["run/step-000007"]
        var json = try JSON(contentsOf: checkpoint + "/checkpoint.json")
        manifest(&json)
        try write([UInt8](json.data()), to: checkpoint + "/checkpoint.json")
        let state = checkpoint + "/state.safetensors"
        var list = try SafetensorsFile(path: state).tensors.map { tensor in
            var raw = RawTensor(tensor.name, tensor.shape, [])
            (raw.type, raw.bytes) = (tensor.type.rawValue, Array(tensor.bytes))
            return raw
        }
        tensors(&list)
        try write(safetensors(list), to: state)
        let sums = try ["checkpoint.json", "state.safetensors", "metrics.jsonl"].map {
            "\(sha256(try contents("\(checkpoint)/\($0)")))  \($0)\n"
        }
        try write(Array(sums.joined().utf8), to: checkpoint + "/SHA256SUMS")
    }

    @Test func `a checkpoint put together again without a change is accepted`() throws {
        let folder = try stopped()
        try forged(folder)
        var state = state(try trainer(.refloraS))
        _ = try open(folder).restore(&state, totalSteps: Self.steps)
        #expect(state.summary.steps == 7)
    }

    @Test func `values that lie are refused`() throws {
        let lies: [(String, JSON?)] = [
            ("step", 0), ("step", -7), ("step", 8), ("step", 1.5), ("step", nil), ("step", "7"),
            ("tokens", -1), ("tokens", .int(.max)), ("seconds", 1e300), ("seconds", -1),
            ("first_loss", nil), ("last_loss", "low"), ("format", "other"), ("run", nil),
            ("run", ["--rank": 4]),
        ]
        for (key, value) in lies {
            let folder = try stopped()
            try forged(folder, manifest: { $0[key] = value })
            try expectFallback(folder, to: 6)
        }
        let folder = try stopped()
        try forged(folder, manifest: { $0["format_version"] = 1 })
        var state = state(try trainer(.refloraS))
        let error = try failure { _ = try open(folder).restore(&state, totalSteps: Self.steps) }
        #expect(error.code == .unsupported)
    }

    @Test func `tensors that are not the adapter's are refused`() throws {
        func floats(_ value: Float) -> [UInt8] { RawTensor("", [1], [value]).bytes }
        func doubles(_ value: Double) -> [UInt8] { withUnsafeBytes(of: value) { Array($0) } }
        let forgeries: [(inout [RawTensor]) -> Void] = [
            { $0.removeLast() }, { $0.removeFirst() },
            { $0.append(RawTensor("more", [1], [1])) }, { $0[3].name = "other" },
            { $0[4].shape.reverse() }, { $0[4].shape = [$0[4].bytes.count / 4] },
            { $0[4] = RawTensor($0[4].name, [1, 2], [1, 2]) },
            { $0[4] = RawTensor($0[4].name, [0, 12], []) },
            { $0[4].type = "I32" }, { $0[4].bytes.replaceSubrange(0..<4, with: floats(.nan)) },
            { $0[9].bytes.replaceSubrange(4..<8, with: floats(.infinity)) },
            { list in
                let variances = list.indices.filter { list[$0].name.hasSuffix("exp_avg_sq") }
                list[variances[0]].bytes.replaceSubrange(0..<4, with: floats(-1))
            },
            { $0[0].bytes.replaceSubrange(0..<8, with: doubles(.nan)) },
            { $0[0].bytes.replaceSubrange(0..<8, with: doubles(0)) },
            { $0[0].bytes.replaceSubrange(0..<8, with: doubles(-1)) },
            { $0[0] = RawTensor($0[0].name, [2, 2], [1, 1, 1, 1]) },
        ]
        for forgery in forgeries {
            let folder = try stopped()
            try forged(folder, tensors: forgery)
            try expectFallback(folder, to: 6)
        }
    }
}
