/// A linear layer of a block that an adapter can target, by its name in a Hugging Face checkpoint.
public enum LinearModule: String, CaseIterable, Sendable, Codable {
    /// Queries [heads · headSize, hidden]
    case query = "q_proj"
    /// Keys [keyValueHeads · headSize, hidden]
    case key = "k_proj"
    /// Values [keyValueHeads · headSize, hidden]
    case value = "v_proj"
    /// Attention's output [hidden, heads · headSize]
    case output = "o_proj"
    /// SwiGLU's gate [intermediate, hidden]
    case gate = "gate_proj"
    /// SwiGLU's linear half [intermediate, hidden]
    case up = "up_proj"
    /// Feed-forward output [hidden, intermediate]
    case down = "down_proj"

    /// The path below a block: `self_attn.q_proj`, `mlp.up_proj`.
    public var path: String {
        switch self {
        case .query, .key, .value, .output: "self_attn.\(rawValue)"
        case .gate, .up, .down: "mlp.\(rawValue)"
        }
    }
}

extension LinearModule {
    /// Rows and columns of the module's weight in a model of these dimensions.
    public func shape(in model: ModelConfiguration) -> (outputs: Int, inputs: Int) {
        let queries = model.headCount * model.headSize
        let keys = model.keyValueHeadCount * model.headSize
        return switch self {
        case .query: (queries, model.hiddenSize)
        case .key, .value: (keys, model.hiddenSize)
        case .output: (model.hiddenSize, queries)
        case .gate, .up: (model.intermediateSize, model.hiddenSize)
        case .down: (model.hiddenSize, model.intermediateSize)
        }
    }
}

/// One linear layer of a model: block and module.
public struct ModulePath: Hashable, Sendable, CustomStringConvertible {
    /// The block, from 0.
    public var layer: Int
    /// The module within it.
    public var module: LinearModule

    /// Creates a path.
    public init(layer: Int, module: LinearModule) {
        self.layer = layer
        self.module = module
    }

    /// `model.layers.3.self_attn.q_proj`: the checkpoint's tensor less `.weight`.
    public var description: String { "model.layers.\(layer).\(module.path)" }

    /// The path that `name` spells, if it spells one.
    public init?(_ name: some StringProtocol) {
        let parts = name.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 5, parts[0] == "model", parts[1] == "layers",
            let layer = Int(parts[2]),
            layer >= 0, let module = LinearModule(rawValue: String(parts[4])),
            module.path == parts[3...].joined(separator: ".")
        else { return nil }
        self.init(layer: layer, module: module)
    }
}
