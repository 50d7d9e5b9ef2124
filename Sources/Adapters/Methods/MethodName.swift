/// The fine-tuning methods, by the names that commands and manifests use.
public enum MethodName: String, CaseIterable, Sendable, Codable {
    /// Hu et al. 2021.
    case lora
    /// Rank-stabilized scale, Kalajdzievski 2023.
    case rslora
    /// A faster B, Hayou et al. 2024.
    case loraplus
    /// Magnitude and direction apart, Liu et al. 2024.
    case dora
    /// A fixed and B's gradient projected, Zhang et al. 2023.
    case loraFA = "lora-fa"
    /// Gradients preconditioned by the other factor, Zhang and Pilanci 2024.
    case preclora
    /// Gradients that follow the full one, Wang et al. 2024.
    case loraPro = "lora-pro"
    /// Adam in orthonormal bases, Yen et al. 2024.
    case loraRITE = "lora-rite"
    /// Ranks by importance, Zhang et al. 2023.
    case adalora
    /// Refactored factors, Zhang et al. 2025; the default.
    case reflora
    /// Its scalar form.
    case refloraS = "reflora-s"

    /// The method, for a run as `settings` describe it.
    public func method(_ settings: MethodSettings) -> any Method {
        switch self {
        case .lora: LoRA()
        case .rslora: RsLoRA()
        case .loraplus: LoRAPlus(learningRateRatio: settings.learningRateRatio)
        case .dora: DoRA()
        case .loraFA: settings.damping.map(LoRAFA.init) ?? LoRAFA()
        case .preclora: settings.damping.map(PrecLoRA.init) ?? PrecLoRA()
        case .loraPro: settings.damping.map(LoRAPro.init) ?? LoRAPro()
        case .loraRITE: LoRARITE()
        case .adalora:
            AdaLoRA(settings.adaLoRA, totalSteps: settings.totalSteps, seed: settings.seed)
        case .reflora: RefLoRA(schedule: settings.refactoring)
        case .refloraS: RefLoRAS(schedule: settings.refactoring)
        }
    }

    /// What multiplies B A at this rank and alpha.
    public func scale(rank: Int, alpha: Double) -> Float {
        method(MethodSettings(totalSteps: 1)).scale(rank: rank, alpha: alpha)
    }

    /// Whether the adapter has magnitudes, for which a start needs the base's norms.
    public var trainsMagnitudes: Bool {
        method(MethodSettings(totalSteps: 1)).trainsMagnitudes
    }

    /// Whether it goes on from whatever B it is given; AdaLoRA makes B of singular values that begin at
    /// zero.
    var startsFromB: Bool { self != .adalora }

    /// Whether A is trained.
    public var learnsA: Bool { method(MethodSettings(totalSteps: 1)).learnsA }

    /// A's learning rate where none is given.
    ///
    /// 2e-4 is customary for LoRA with AdamW, which undoes a preconditioner's size; the larger scale of
    /// rsLoRA and the 16-fold rate of LoRA+'s B want less.
    public var defaultLearningRate: Double {
        switch self {
        case .lora, .dora, .reflora, .refloraS, .loraFA, .preclora, .loraPro, .loraRITE: 2e-4
        case .rslora: 1e-4
        case .loraplus: 5e-5
        case .adalora: 2e-3
        }
    }
}
