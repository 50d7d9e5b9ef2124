public import LorikeetRuntime

extension AdapterConfiguration {
    /// Rank and scale of the term at one module.
    public struct Term: Sendable, Equatable {
        /// The rank, r.
        public var rank: Int
        /// alpha / r, or alpha / √r for rsLoRA.
        public var scale: Float
    }

    /// Rank and scale at each of `paths`, as PEFT finds them.
    ///
    /// A key of `rank_pattern` or `alpha_pattern` is a regular expression that must match a name's end,
    /// from its start or a dot on; the first key that matches counts.
    ///
    /// - Throws: `.malformed` or `.unsupported` for a key that is no such expression.
    public func terms(at paths: [ModulePath], source: String) throws -> [ModulePath: Term] {
        func compiled(_ key: String) throws -> ModuleNamePattern {
            try ModuleNamePattern("(.*\\.)?(\(key))", source: source)
        }
        let ranks = try rankPattern.map { (pattern: try compiled($0.key), value: $0.value) }
        let alphas = try alphaPattern.map { (pattern: try compiled($0.key), value: $0.value) }
        var terms: [ModulePath: Term] = [:]
        for path in paths {
            let name = path.description
            let rank = ranks.first { $0.pattern.matches(name) }?.value ?? rank
            let alpha = alphas.first { $0.pattern.matches(name) }?.value ?? alpha
            let divisor = usesRSLoRA ? Double(rank).squareRoot() : Double(rank)
            terms[path] = Term(rank: rank, scale: Float(alpha / divisor))
        }
        return terms
    }

    /// Those of `modules` that the configuration targets, in the model's order.
    ///
    /// - Throws: `.mismatch` when a listed name matches no module, or no module is left.
    public func targetedModules(in modules: BlockModules, source: String) throws -> [ModulePath] {
        let all = (0..<modules.layerCount).flatMap { layer in
            modules.all.map { ModulePath(layer: layer, module: $0) }
        }
        if case .list(let names) = targetModules {
            for name in names where !all.contains(where: { Self.ends($0.description, with: name) })
            {
                throw LorikeetError(
                    .mismatch, source, "target_modules names \(String(reflecting: name))",
                    expected: "modules of the base, such as \(all.first?.description ?? "none")",
                    got: "a name that matches none of its \(all.count) modules")
            }
        }
        let isTarget = try Self.matcher(targetModules, source: source)
        let isExcluded = try excludedModules.map { try Self.matcher($0, source: source) }
        let isLayerChosen = try layerMatcher(
            blocks: modules.all.first?.blocks ?? "", source: source)
        let chosen = all.filter { path in
            let name = path.description
            return isTarget(name) && isExcluded?(name) != true && isLayerChosen(path)
        }
        guard !chosen.isEmpty else {
            throw LorikeetError(
                .mismatch, source,
                "target_modules and its restrictions leave no module of the base",
                got: targetModules.description)
        }
        return chosen
    }

    private static func ends(_ name: String, with suffix: String) -> Bool {
        name == suffix || name.hasSuffix("." + suffix)
    }

    private static func matcher(
        _ names: ModuleNames, source: String
    ) throws -> (String) -> Bool {
        switch names {
        case .allLinear: return { _ in true }
        case .list(let names): return { name in names.contains { ends(name, with: $0) } }
        case .pattern(let text): return try ModuleNamePattern(text, source: source).matches
        }
    }

    /// `layers_to_transform` counts for listed targets only, and where one of `layers_pattern`, if there
    /// are any, precedes the number, in our names as in `model.layers`.
    private func layerMatcher(blocks: String, source: String) throws -> (ModulePath) -> Bool {
        guard let layersToTransform, !layersToTransform.isEmpty, case .list = targetModules else {
            return { _ in true }
        }
        let precedes = try layersPattern.map {
            try ModuleNamePattern("(.*\\.)?(\($0))", source: source)
        }
        guard precedes.isEmpty || precedes.contains(where: { $0.matches(blocks) }) else {
            return { _ in false }
        }
        let layers = Set(layersToTransform)
        return { layers.contains($0.layer) }
    }
}

extension AdapterConfiguration.ModuleNames: CustomStringConvertible {
    /// The names or the pattern.
    public var description: String {
        switch self {
        case .list(let names): names.joined(separator: ", ")
        case .pattern(let pattern): pattern
        case .allLinear: "all-linear"
        }
    }
}
