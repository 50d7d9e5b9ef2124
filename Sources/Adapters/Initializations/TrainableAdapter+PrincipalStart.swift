package import LorikeetQuant
package import LorikeetRuntime

extension TrainableAdapter {
    /// PiSSA: A and B begin as the principal singular vectors of W, and W as what is left without them.
    ///
    ///     s B₀ A₀ = U diag(σ) Vᵀ,    A₀ = √(σ / s) Vᵀ,    B₀ = U √(σ / s),    y = W x + s (B A − B₀ A₀) x
    ///
    /// W itself stays as it is, shared by all adapters: the start is taken off as a second term of the
    /// same rank, which the saved adapter holds too.
    /// Source: Meng, Wang, Zhang, "PiSSA" (NeurIPS 2024), equations 2 to 4; PEFT's conversion to rank 2r.
    ///
    /// - Throws: `.invalidArgument` for a rank that a layer's weight does not have.
    package func startFromPrincipalComponents(
        of model: DecoderModel, seed: UInt64, compute: Compute
    ) throws {
        for module in modules {
            guard let weight = model.weight(at: module.path) else {
                preconditionFailure("\(module.path) is no layer of the model")
            }
            try requireRank(of: module)
            let components = PrincipalComponents(
                of: WeightOperator(weight, on: compute), rank: rank, seed: seed)
            set(module, components)
        }
        subtractStart()
    }

    /// - Throws: `.invalidArgument` where the layer is narrower than the rank.
    func requireRank(of module: Module) throws {
        let smaller = min(module.inputSize, module.outputSize)
        guard rank <= smaller else {
            throw LorikeetError(
                .invalidArgument, "--rank", "is more than \(module.path) has singular values",
                expected: "at most \(smaller)", got: "\(rank)")
        }
    }

    /// s B A = U diag(σ) Vᵀ, each factor with its root of σ / s.
    func set(_ module: Module, _ components: PrincipalComponents) {
        let (a, b) = (module.delta.a, module.delta.b)
        let (m, n) = (module.outputSize, module.inputSize)
        for i in 0..<rank {
            let root = (components.values[i] / Double(scale)).squareRoot()
            for j in 0..<n { a[i * n + j] = Float(root * components.right[i * n + j]) }
            for j in 0..<m { b[j * rank + i] = Float(root * components.left[i * m + j]) }
        }
    }
}
