import LorikeetQuant

/// Products with `layers`, equal square matrices: one row of decoding, 512 of a prompt, and backward.
///
/// A single row goes through all of them in turn, as many as no cache holds, so that weights come from
/// memory.
func measureProducts(_ layers: [WeightMatrix], on compute: Compute, _ ceiling: Ceiling) -> [Row] {
    let precision = compute.precision
    let (width, count) = (layers[0].columns, 512)
    let x = Buffer<Float>(count * width)
    let y = Buffer<Float>(count * width)
    for i in 0..<x.count { x[i] = Float(i % 17) - 8 }
    let activations = Activations(on: compute)
    let weights = layers.map { LinearWeight($0, on: compute) }
    func multiply(_ weight: LinearWeight, _ count: Int) {
        LinearWeight.multiply(
            [weight], x.pointer, count: count, using: activations, on: compute
        ) { _ in y.pointer }
    }
    var rows = [
        ceiling.reading(
            "decode product, \(precision)", bytes: weights.reduce(0) { $0 + $1.memory },
            on: compute
        ) {
            for weight in weights { multiply(weight, 1) }
        }
    ]
    let operations = 2 * Double(count * width * width)
    let peak = ceiling.operations(precision) / 1e9
    let prefill = seconds(runs: 3) { multiply(weights[0], count) }
    rows.append(
        Row(
            "prefill product, \(precision)", on: compute, operations / prefill / 1e9, "G/s",
            ceiling: peak))
    guard precision != .int8 else { return rows }
    let backward = seconds(runs: 3) {
        weights[0].multiplyBackward(
            x.pointer, count: count, into: y.pointer, accumulate: false, using: activations,
            on: compute)
    }
    rows.append(
        Row(
            "backward product, \(precision)", on: compute, operations / backward / 1e9, "G/s",
            ceiling: peak))
    return rows
}
