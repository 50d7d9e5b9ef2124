import QuantKernels

/// A low-rank factor as products read it: floats, or bytes with a step a rank.
struct PackedFactor {
    /// The elements.
    let start: UnsafeRawPointer
    /// What keeps them.
    let owner: AnyObject
    /// What 1 stands for, by rank: the rank's largest element becomes ±127; floats have none.
    let steps: [Float]

    /// What becomes of a factor.
    enum Shape {
        /// A piece a rank [width].
        case ranks(_ count: Int, width: Int)
        /// Panels [rank, width].
        case panels(_ count: Int, rank: Int, width: Int)

        fileprivate var pieces: Int {
            switch self {
            case .ranks(let count, _), .panels(let count, _, _): count
            }
        }
        fileprivate var width: Int {
            switch self {
            case .ranks(_, let width), .panels(_, _, let width): width
            }
        }
        /// Whose elements are in the rows of a piece.
        fileprivate func ranks(of piece: Int) -> Range<Int> {
            switch self {
            case .ranks: piece..<piece + 1
            case .panels(_, let rank, _): 0..<rank
            }
        }
    }

    /// Packs a factor piece by piece on the calling thread.
    ///
    /// - Parameters:
    ///   - shape: what becomes of it.
    ///   - memory: where.
    ///   - compute: whose precision and kernels.
    ///   - largest: the largest magnitude of every rank.
    ///   - fill: writes a piece's elements; only the last piece may leave some out, which are zeros.
    init(
        _ shape: Shape, in memory: TileMemory, on compute: Compute, largest: () -> [Float],
        fill: (_ piece: Int, _ elements: UnsafeMutablePointer<Float>) -> Void
    ) {
        let (width, pieces) = (shape.width, shape.pieces)
        let count = shape.ranks(of: 0).count * width
        guard quant_factor_type(compute.precision) == QUANT_FACTOR_I8 else {
            let floats = memory.allocate(pieces * count, of: Float.self)
            floats.0.update(repeating: 0, count: pieces * count)
            for piece in 0..<pieces { fill(piece, floats.0 + piece * count) }
            (start, owner, steps) = (UnsafeRawPointer(floats.0), floats.owner, [])
            return
        }
        let largest = largest()
        let bytes = memory.allocate(pieces * count, of: Int8.self)
        // A piece becomes bytes while it is in the first-level cache.
        let floats = Buffer<Float>(count)
        for piece in 0..<pieces {
            if piece == pieces - 1 { floats.elements.update(repeating: 0) }
            fill(piece, floats.pointer)
            for (row, rank) in shape.ranks(of: piece).enumerated() {
                let place = row * width
                let out = bytes.0 + piece * count + place
                if let scale = Self.scale(largest[rank]) {
                    compute.kernels.i8_from_f32(floats.pointer + place, width, scale, out)
                } else {
                    out.update(repeating: 0, count: width)
                }
            }
        }
        (start, owner) = (UnsafeRawPointer(bytes.0), bytes.owner)
        steps = largest.map { $0 / 127 }
    }

    /// What elements become bytes by; nil where it is no number: a rank of so little adds nothing to any
    /// number that matters, and one that is not finite shows by its step.
    private static func scale(_ largest: Float) -> Float? {
        largest.isFinite && largest > 0x1p-110 ? 127 / largest : nil
    }
}

extension quant_factor_type {
    /// What a precision's factors are.
    init(_ precision: Precision) {
        self = precision == .fp32 ? QUANT_FACTOR_F32 : QUANT_FACTOR_I8
    }

    /// Bytes of an element.
    var size: Int {
        self == QUANT_FACTOR_I8 ? MemoryLayout<Int8>.stride : MemoryLayout<Float>.stride
    }
}

extension Buffer<Float> {
    /// The largest |x|; NaN or infinity where one is not finite.
    package var largestMagnitude: Float {
        // As bits they are in the same order, and a maximum of integers is made of vectors.
        Float(bitPattern: elements.reduce(0) { max($0, $1.bitPattern & 0x7FFF_FFFF) })
    }

    /// The largest |x| of every row of a matrix of so many.
    func largestMagnitudes(ofRows rows: Int) -> [Float] {
        let width = count / rows
        return (0..<rows).map { row in
            let elements = UnsafeBufferPointer(start: pointer + row * width, count: width)
            return Float(
                bitPattern: elements.reduce(0) { Swift.max($0, $1.bitPattern & 0x7FFF_FFFF) })
        }
    }

    /// The largest |x| of every column of a matrix of so many.
    func largestMagnitudes(ofColumns columns: Int) -> [Float] {
        var largest = [UInt32](repeating: 0, count: columns)
        largest.withUnsafeMutableBufferPointer { largest in
            for row in stride(from: 0, to: count, by: columns) {
                for c in 0..<columns {
                    largest[c] = Swift.max(largest[c], self[row + c].bitPattern & 0x7FFF_FFFF)
                }
            }
        }
        return largest.map(Float.init(bitPattern:))
    }
}
