import LorikeetRuntime

extension FineTuning {
    /// The layers of each block that are adapted.
    func targets(in model: ModelConfiguration) -> [LinearModule] {
        model.modules.named(options.targetModules)
    }

    /// The adapter to start from: the one given, or what `quantize` computed beside the base.
    func initialAdapter(over model: LanguageModel) throws -> Adapter? {
        var path = options.initialAdapter
        if options.initialization == .loftq {
            let folder = model.checkpoint.path + "/" + LoftQ.folderName
            guard Adapters.isAdapter(folder) else {
                throw LorikeetError(
                    .notFound, folder,
                    "--init loftq needs what quantization lost, which is not there",
                    advice: "Quantize the float checkpoint with --loftq-rank.")
            }
            path = folder
        }
        // B = 0 is the usual start: as an adapter it changes nothing, and that is fine here.
        return try path.map { try Adapters.load($0, over: model, allowNoEffect: true) }
    }

    /// The factors at the beginning of a run.
    ///
    /// - Parameters:
    ///   - model: the base.
    ///   - rows: what is trained on; EVA looks at it.
    ///   - initial: the adapter to start from, if there is one.
    ///   - note: told in a line what a start looked at.
    /// - Returns: the factors.
    /// - Throws: for a method and a start that do not go together, or a start that cannot be made.
    func start(
        over model: LanguageModel, rows: any TrainingRows, from initial: Adapter?,
        note: (String) -> Void
    ) throws -> TrainableAdapter {
        let shapes = TrainableAdapter.Shape.shapes(
            of: targets(in: model.model.configuration), in: model.model.configuration)
        let method = options.training.method
        let scale = method.scale(rank: options.rank, alpha: alpha)
        guard method.startsFromB || (initial == nil && options.initialization.leavesBZero) else {
            throw LorikeetError(
                .unsupported, "--method \(method.rawValue)",
                "begins with a B of its own making, zero, and cannot take another",
                advice: "Use --init default, gaussian or eva, or another method.")
        }
        let norms =
            method.trainsMagnitudes
            ? RowNorms(model.model, on: model.compute) : nil
        if let initial {
            return try TrainableAdapter(
                shapes: shapes, rank: options.rank, scale: scale, copying: initial,
                name: options.initialAdapter ?? initial.name, norms: norms,
                learnsA: method.learnsA)
        }
        guard norms == nil || options.initialization != .pissa else {
            throw LorikeetError(
                .unsupported, "--init pissa", "a start that is taken off has no lengths of rows",
                advice: "Give --method dora another --init.")
        }
        let adapter = TrainableAdapter(
            shapes: shapes, rank: options.rank, scale: scale, norms: norms,
            learnsA: method.learnsA)
        let seed = options.training.seed
        switch options.initialization {
        case .kaiming: adapter.startUniformly(seed: seed)
        case .gaussian: adapter.startNormally(seed: seed)
        case .orthogonal: try adapter.startOrthogonally(seed: seed)
        case .pissa:
            try adapter.startFromPrincipalComponents(
                of: model.model, seed: seed, compute: model.compute)
        case .eva:
            let tokens = try adapter.startFromInputs(
                of: rows, seed: seed, model: model.model, compute: model.compute)
            note("A begins as the inputs' principal directions on \(tokens) tokens of the data")
        case .loftq: preconditionFailure("LoftQ's start is an adapter")
        }
        adapter.startMagnitudes()
        return adapter
    }
}
