import LorikeetQuant

/// The factors as they were when the validation loss was lowest.
struct BestFactors {
    /// What is trained, and the memory for a copy of it.
    private let copies: [(parameter: TrainableAdapter.Parameter, copy: Buffer<Float>)]
    /// The copies, as a checkpoint holds them.
    let state: [StateTensor]

    /// Room for the factors of `adapter`.
    init(of adapter: TrainableAdapter) {
        let named = adapter.namedParameters.flatMap(\.self)
        let copies = named.map {
            (parameter: $0.parameter, copy: Buffer<Float>($0.parameter.values.count))
        }
        state = zip(named, copies).map { named, pair in
            StateTensor(
                "best.\(named.name).weight", shape: named.parameter.shape, .floats(pair.copy))
        }
        self.copies = copies
    }

    /// Remembers the factors as they are.
    func remember() {
        for (parameter, copy) in copies {
            _ = copy.elements.update(from: parameter.values.elements)
        }
    }

    /// Makes the factors what they were when they were remembered.
    func restore() {
        for (parameter, copy) in copies {
            _ = parameter.values.elements.update(from: copy.elements)
        }
    }
}
