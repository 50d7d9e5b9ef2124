import LorikeetAdapters
import LorikeetRuntime
import Testing

@Suite struct InputDirectionsTests {
    private func add(_ rows: Matrix, _ range: Range<Int>, to directions: inout InputDirections) {
        let part = rows.elements[range.lowerBound * rows.columns..<range.upperBound * rows.columns]
        part.map(Float.init).withUnsafeBufferPointer { directions.add($0) }
    }

    @Test func `directions of vectors that come in parts are those of all of them`() throws {
        var generator = SeededGenerator(seed: 5)
        // Ten directions of falling weight in 24 dimensions, and little noise.
        let basis = Matrix.orthonormalRows(10, 24, &generator)
        let weights = Matrix.random(120, 10, &generator)
        let x =
            weights * Matrix.diagonal((0..<10).map { 8 / Double(1 << $0) }) * basis
            - 1e-3 * Matrix.random(120, 24, &generator)
        var directions = InputDirections(count: 12, columns: 24)
        for begin in stride(from: 0, to: 120, by: 17) {
            add(x, begin..<min(begin + 17, 120), to: &directions)
        }
        let found = try #require(directions.directions(4))
        let exact = (x.transposed * x).largestEigenvectors(4)
        for i in 0..<4 {
            let dot = (0..<24).reduce(0) { $0 + found[i * 24 + $1] * exact.vectors[i, $1] }
            // Twelve of the ten directions that matter are kept: only noise is ever dropped.
            #expect(abs(abs(dot) - 1) < 1e-6, "direction \(i)")
        }
    }

    @Test func `too few vectors have no directions`() {
        var directions = InputDirections(count: 4, columns: 6)
        #expect(directions.directions(2) == nil)
        add(Matrix(1, 6, [1, 2, 3, 4, 5, 6]), 0..<1, to: &directions)
        #expect(directions.directions(1) != nil && directions.directions(2) == nil)
        add(Matrix(2, 6, [1, 2, 3, 4, 5, 6, 2, 4, 6, 8, 10, 12]), 0..<2, to: &directions)
        // Three vectors in one direction; what is left of the others is rounding, but a number.
        #expect(directions.directions(2)?.allSatisfy(\.isFinite) ?? true)
    }
}
