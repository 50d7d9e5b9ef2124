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
    /// Refactored factors, Zhang et al. 2025; the default.
    case reflora
    /// Its scalar form.
    case refloraS = "reflora-s"

    /// The method, for a run as `settings` describe it.
    public func method(_ settings: MethodSettings) -> any Method {
        switch self {
        case .lora: LoRA()
        case .rslora: RsLoRA()
        case .loraplus: LoRAPlus()
        case .dora: DoRA()
        case .reflora: RefLoRA(schedule: settings.refactoring)
        case .refloraS: RefLoRAS(schedule: settings.refactoring)
        }
    }

    /// What multiplies B A at this rank and alpha.
    public func scale(rank: Int, alpha: Double) -> Float {
        method(MethodSettings(totalSteps: 1)).scale(rank: rank, alpha: alpha)
    }

    /// Whether the adapter has magnitudes, for which a start needs the base's norms.
    public var trainsMagnitudes: Bool { self == .dora }

    /// A's learning rate where none is given.
    ///
    /// 2e-4 is customary for LoRA with AdamW; the larger scale of rsLoRA and the 16-fold rate of
    /// LoRA+'s B want less.
    public var defaultLearningRate: Double {
        switch self {
        case .lora, .dora, .reflora, .refloraS: 2e-4
        case .rslora: 1e-4
        case .loraplus: 5e-5
        }
    }
}
