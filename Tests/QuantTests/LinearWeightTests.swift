import LorikeetQuant
import TestSupport
import Testing

/// Products as they are divided among threads.
struct LinearWeightTests {
    // Few rows, which threads prepare for themselves; rows of tiles; and panels, 9 of which 2 threads divide
    // by rows and 3 do not.
    @Test(arguments: [1, 5, 47, 48, 600], [1, 2, 3])
    func `the division changes no bit`(count: Int, threads: Int) {
        let shape = (rows: 576, columns: 192)
        let one = Compute(threads: 1)
        let many = Compute(threads: threads)
        let floats = WeightMatrix(
            floats: noise(shape.rows * shape.columns, seed: 1), rows: shape.rows,
            columns: shape.columns)
        let tensor = QuantizedTensor(quantizing: floats, on: one)
        let x = noise(count * shape.columns, seed: 2)
        let dy = noise(count * shape.rows, seed: 3)
        func products(_ compute: Compute) -> (y: [UInt32], dx: [UInt32]) {
            let weight = LinearWeight(tensor.weightMatrix(), on: compute)
            let activations = Activations(on: compute)
            let y = Buffer<Float>(count * shape.rows)
            let dx = Buffer<Float>(count * shape.columns)
            LinearWeight.multiply(
                [weight], x.pointer, count: count, using: activations, on: compute
            ) { _ in y.pointer }
            weight.multiplyBackward(
                dy.pointer, count: count, into: dx.pointer, accumulate: false, using: activations,
                on: compute)
            return (y.array.map(\.bitPattern), dx.array.map(\.bitPattern))
        }
        let (expected, got) = (products(one), products(many))
        #expect(got.y == expected.y)
        #expect(got.dx == expected.dx)
        // And the one thread's are those of one row after the other.
        let row = count - 1
        let weight = LinearWeight(tensor.weightMatrix(), on: one)
        let single = Buffer<Float>(shape.rows)
        LinearWeight.multiply(
            [weight], x.pointer + row * shape.columns, count: 1, using: Activations(on: one),
            on: one
        ) { _ in single.pointer }
        #expect(single.array.map(\.bitPattern) == Array(expected.y.suffix(shape.rows)))
        withExtendedLifetime((x, dy)) {}
    }
}
