public import LorikeetRuntime
public import OrderedCollections

/// `adapter_config.json`: what PEFT's `LoraConfig` says of a LoRA adapter.
///
/// A key that changes the mathematics and is not carried out here is refused when it is set; every
/// other key is kept and written back.
public struct AdapterConfiguration: Sendable, Equatable {
    /// A choice of modules by name, as `target_modules` and `exclude_modules` make it.
    public enum ModuleNames: Sendable, Equatable {
        /// Names, each matched whole or after a dot: `q_proj`, `self_attn.q_proj`.
        case list([String])
        /// A Python regular expression that must match the whole name.
        case pattern(String)
        /// `"all-linear"`: every linear layer but the output projection.
        case allLinear
    }

    /// r, of every module that `rankPattern` does not name.
    public var rank: Int
    /// lora_alpha, of every module that `alphaPattern` does not name.
    public var alpha: Double
    /// The modules that have a term: target_modules.
    public var targetModules: ModuleNames
    /// The modules left out of these: exclude_modules.
    public var excludedModules: ModuleNames?
    /// rank_pattern: ranks by regular expression on a name's end; the first that matches counts.
    public var rankPattern: OrderedDictionary<String, Int>
    /// alpha_pattern, likewise.
    public var alphaPattern: OrderedDictionary<String, Double>
    /// use_rslora: the scale is alpha / √r instead of alpha / r (arXiv 2312.03732).
    public var usesRSLoRA: Bool
    /// use_dora: each output is scaled to a trained magnitude (arXiv 2402.09353).
    public var usesDoRA: Bool
    /// lora_dropout, in training only.
    public var dropout: Double
    /// What the file calls the base: base_model_name_or_path.
    public var baseModel: String?
    /// What the model is used for, task_type: CAUSAL_LM, SEQ_CLS.
    public var taskType: String?
    /// modules_to_save: modules, each by the end of its name, whose tensors the adapter brings whole.
    public var modulesToSave: [String]
    /// layers_to_transform; nil for all layers.
    public var layersToTransform: [Int]?
    /// layers_pattern: what precedes a layer's number in a name; empty for anything.
    public var layersPattern: [String]
    /// Every other key of the file, kept for writing.
    public var otherFields: OrderedDictionary<String, JSON>

    /// Ranks beyond this are taken for a mistake.
    public static let maximumRank = 4096

    /// Creates the configuration of a LoRA adapter for a causal language model.
    public init(
        rank: Int, alpha: Double,
        targetModules: ModuleNames = .list(LinearModule.llama.map(\.name)),
        usesRSLoRA: Bool = false, usesDoRA: Bool = false, dropout: Double = 0,
        baseModel: String? = nil
    ) {
        self.rank = rank
        self.alpha = alpha
        self.targetModules = targetModules
        self.usesRSLoRA = usesRSLoRA
        self.usesDoRA = usesDoRA
        self.dropout = dropout
        self.baseModel = baseModel
        excludedModules = nil
        rankPattern = [:]
        alphaPattern = [:]
        taskType = "CAUSAL_LM"
        modulesToSave = []
        layersToTransform = nil
        layersPattern = []
        otherFields = [:]
    }

    /// Whether biases of the base are trained, where it has any: bias.
    var trainsBiases: Bool { otherFields["bias"].map { $0.string ?? "none" != "none" } ?? false }

    /// The method that the settings tell, for an adapter whose bundle does not name another.
    public var method: String { usesDoRA ? "dora" : usesRSLoRA ? "rslora" : "lora" }

    /// Whether the tensor `name` belongs to one of `modulesToSave`, or to the output projection that
    /// ensure_weight_tying saves beside an embedding.
    func saves(_ name: String) -> Bool {
        let tied = otherFields["ensure_weight_tying"]?.bool == true ? ["lm_head"] : []
        return !modulesToSave.isEmpty
            && (modulesToSave + tied).contains { Self.saves($0, name) }
    }

    /// Whether the tensor `name` belongs to a module whose name ends in `module`, as PEFT compares them.
    static func saves(_ module: String, _ name: String) -> Bool { name.contains("\(module).") }
}
