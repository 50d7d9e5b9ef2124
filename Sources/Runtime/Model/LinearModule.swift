/// A linear layer of a block that an adapter can target, by its name in a Hugging Face checkpoint.
///
/// Which ones a model has, and of which shapes, its configuration says: `ModelConfiguration.modules`.
public struct LinearModule: Hashable, Sendable {
    /// Where the model's blocks are: `model.layers`.
    public let blocks: String
    /// The path below a block: `self_attn.q_proj`, `mlp.up_proj`.
    public let path: String

    /// The layer at `path` below each of `blocks`.
    public init(blocks: String = "model.layers", path: String) {
        self.blocks = blocks
        self.path = path
    }

    /// What PEFT calls it, the path's last component: `q_proj`.
    public var name: String {
        path.lastIndex(of: ".").map { String(path[path.index(after: $0)...]) } ?? path
    }
}

/// Those that most decoders have.
extension LinearModule {
    /// Queries [heads · headSize, hidden].
    public static let query = LinearModule(path: "self_attn.q_proj")
    /// Keys [keyValueHeads · headSize, hidden].
    public static let key = LinearModule(path: "self_attn.k_proj")
    /// Values [keyValueHeads · headSize, hidden].
    public static let value = LinearModule(path: "self_attn.v_proj")
    /// Attention's output [hidden, heads · headSize].
    public static let output = LinearModule(path: "self_attn.o_proj")
    /// The feed-forward layer's gate [intermediate, hidden].
    public static let gate = LinearModule(path: "mlp.gate_proj")
    /// Its linear half [intermediate, hidden].
    public static let up = LinearModule(path: "mlp.up_proj")
    /// Its output [hidden, intermediate].
    public static let down = LinearModule(path: "mlp.down_proj")

    /// Queries, keys and values in one [(heads + 2 keyValueHeads) · headSize, hidden].
    public static let queryKeyValue = LinearModule(path: "self_attn.qkv_proj")
    /// Gate and linear half in one [2 intermediate, hidden].
    public static let gateUp = LinearModule(path: "mlp.gate_up_proj")

    /// Llama's seven, in the order of a pass.
    public static let llama = [query, key, value, output, gate, up, down]
}

extension LinearModule: Comparable {
    /// The order of adapters' modules where no model is there to say it, as in their digests: Llama's as a
    /// pass comes to them, then others by their paths.
    public static func < (a: LinearModule, b: LinearModule) -> Bool {
        let (i, j) = (llama.firstIndex(of: a), llama.firstIndex(of: b))
        if i != j { return i ?? .max < j ?? .max }
        return (a.blocks, a.path) < (b.blocks, b.path)
    }
}

extension LinearModule {
    /// Rows and columns of the module's weight in a model of these dimensions, which has it.
    public func shape(in model: ModelConfiguration) -> (outputs: Int, inputs: Int) {
        guard let shape = model.modules.shape(of: self) else {
            preconditionFailure("the model's blocks have no \(path)")
        }
        return shape
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
    public var description: String { "\(module.blocks).\(layer).\(module.path)" }

    /// The path that `name` spells, if it spells one: names on both sides of one number, the block's.
    ///
    /// Whether a model has it, `ModelConfiguration.modules` knows.
    public init?(_ name: some StringProtocol) {
        let parts = name.split(separator: ".", omittingEmptySubsequences: false)
        let numbers = parts.indices.filter { Int(parts[$0]) != nil }
        guard numbers.count == 1, let place = numbers.first, place > 0, place < parts.count - 1,
            let layer = Int(parts[place]), layer >= 0, "\(layer)" == parts[place],
            parts.allSatisfy({ !$0.isEmpty && $0.utf8.allSatisfy(Self.isPartOfName) })
        else { return nil }
        self.init(
            layer: layer,
            module: LinearModule(
                blocks: parts[..<place].joined(separator: "."),
                path: parts[(place + 1)...].joined(separator: ".")))
    }

    /// Whether PyTorch's modules have this in their names: a letter, a digit or `_`.
    private static func isPartOfName(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
            true
        default: false
        }
    }
}

extension ModulePath: Comparable {
    /// By layer, then by module.
    public static func < (a: ModulePath, b: ModulePath) -> Bool {
        (a.layer, a.module) < (b.layer, b.module)
    }
}
