/// The linear layers of a model's blocks, the same ones in each: what adapters can target.
///
/// A layer is known by its name to files and adapters, and by its place, a small number, to a pass.
public struct BlockModules: Sendable, Equatable {
    /// A layer of a block, and its weight's shape.
    public struct Entry: Sendable, Equatable {
        /// The layer.
        public let module: LinearModule
        /// Rows.
        public let outputs: Int
        /// Columns.
        public let inputs: Int

        /// Describes a layer.
        public init(_ module: LinearModule, outputs: Int, inputs: Int) {
            self.module = module
            self.outputs = outputs
            self.inputs = inputs
        }
    }

    /// Number of blocks.
    public let layerCount: Int
    /// The layers of a block in the order of a pass; an index is a layer's place.
    public let entries: [Entry]
    /// Where the layers of each product lie; those that read one input are one product.
    let products: [Range<Int>]

    /// Describes `layerCount` blocks.
    ///
    /// - products: a block's products in the order of a pass, each the layers that read its input.
    public init(layerCount: Int, products: [[Entry]]) {
        self.layerCount = layerCount
        entries = products.flatMap { $0 }
        var end = 0
        self.products = products.map { product in
            defer { end += product.count }
            return end..<end + product.count
        }
    }

    /// The layers of a block, in the order of a pass.
    public var all: [LinearModule] { entries.map(\.module) }

    /// Rows and columns of the module's weight; nil for one that the blocks do not have.
    public func shape(of module: LinearModule) -> (outputs: Int, inputs: Int)? {
        entries.first { $0.module == module }.map { ($0.outputs, $0.inputs) }
    }

    /// Whether the model has a layer at `path`.
    public func contains(_ path: ModulePath) -> Bool {
        (0..<layerCount).contains(path.layer) && shape(of: path.module) != nil
    }

    /// The layers that PEFT calls by one of `names`, in the order of a pass; all for no names.
    ///
    /// A name is a path or its last component, which several layers of an encoder share.
    public func named(_ names: [String]) -> [LinearModule] {
        names.isEmpty ? all : all.filter { names.contains($0.name) || names.contains($0.path) }
    }

    /// Checks that each of `names` is what PEFT calls a layer.
    ///
    /// - Throws: `.invalidArgument`, naming the layers that there are.
    public func require(_ names: [String], source: String) throws {
        let known = all.map(\.name)
        for name in names where !known.contains(name) && !all.contains(where: { $0.path == name }) {
            throw LorikeetError(
                .invalidArgument, source, "the model's blocks have no linear layer of this name",
                expected: "some of \(known.joined(separator: ", "))", got: name)
        }
    }
}

/// The products of a decoder's block, in the order of a pass.
enum BlockProduct: Int, CaseIterable {
    /// Queries, keys and values.
    case attentionInputs
    /// What attention adds to the residual stream.
    case attentionOutput
    /// Gate and linear half.
    case feedForwardInputs
    /// What the feed-forward layer adds.
    case feedForwardOutput
}
