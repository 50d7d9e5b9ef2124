import QuantKernels

/// The low-rank terms that a product adds: of rows of several adapters, of whatever rank, beside each other.
///
/// Y = c ⊙ (X Wᵀ + s U Bᵀ) with U = X Aᵀ, each row with the factors of its adapter. The region of the base
/// product begins with U, in pieces of all terms; a thread needs it when its part of the base product is
/// done, and so hardly waits. Adapters of their own make a few rows read more than they compute: factors are
/// fetched while the base product is computed.
public final class LowRankProduct: @unchecked Sendable {
    // Unchecked: a pass states the terms between regions; a region's threads divide the results among them.

    private struct Term {
        let factors: quant_low_rank
        // c [out]
        let outputScale: UnsafePointer<Float>?
        // Which of the product's weights it goes with.
        let weight: Int
        let rows: Range<Int>
        // Where its U [rows, rank] begins.
        let u: Int
    }

    // Some of a term's U.
    private struct Piece {
        let term: Int
        let rows: Range<Int>
        let ranks: Range<Int>
    }

    // A piece's rows and ranks at most: what long prompts are divided into.
    private static let rowsOfPiece = 64
    private static let ranksOfPiece = 32
    // Multiply-adds that are worth a claim: small pieces are claimed together.
    private static let worthwhile = 1 << 14

    private var terms: [Term] = []
    private var owners: [LowRankFactors] = []
    private var pieces: [Piece] = []
    // The first piece of every claim, and the end.
    private var claims: [Int] = [0]
    private var uCount = 0
    private var u = Buffer<Float>(0)
    // What results held that output scales must not multiply [rows, out].
    private var kept = Buffer<Float>(0)
    private let done = Gate()
    // What the next product begins with.
    private var upcoming: [UnsafeRawBufferPointer] = []
    private var upcomingBytes = 0

    /// A product without terms.
    public init() {}

    /// How many pieces of U threads claim.
    var claimCount: Int { claims.count - 1 }

    /// Forgets all terms.
    public func removeAll() {
        terms.removeAll(keepingCapacity: true)
        owners.removeAll(keepingCapacity: true)
        pieces.removeAll(keepingCapacity: true)
        claims.removeAll(keepingCapacity: true)
        claims.append(0)
        uCount = 0
        upcoming.removeAll(keepingCapacity: true)
        upcomingBytes = 0
    }

    /// Adds a term to some rows of a weight's result; each row has one term a weight at most.
    ///
    /// - factors: must fit the weight.
    /// - weight: the index among the product's weights.
    /// - rows: consecutive rows of X, at least one.
    public func append(_ factors: LowRankFactors, to weight: Int, rows: Range<Int>) {
        terms.append(
            Term(
                factors: factors.raw, outputScale: factors.outputScale.map { .init($0.pointer) },
                weight: weight, rows: rows, u: uCount))
        owners.append(factors)
        uCount += rows.count * factors.raw.rank
    }

    /// States a term of the next product, whose A is fetched meanwhile.
    public func expect(_ factors: LowRankFactors) {
        upcoming.append(factors.a)
        upcomingBytes += factors.a.count
    }

    /// Divides the work and makes room for it, before the region.
    func prepare(for weights: [LinearWeight], accumulate: Bool) {
        var cost = 0
        for (index, term) in terms.enumerated() {
            let (rank, inputs) = (term.factors.rank, term.factors.inputs)
            let weight = weights[term.weight]
            precondition(
                inputs == weight.columns && term.factors.outputs == weight.rows,
                "factors of \(term.factors.outputs) × \(inputs) over \(weight.rows) × \(weight.columns)"
            )
            if accumulate, term.outputScale != nil {
                let count = term.rows.upperBound * weight.rows
                if count > kept.count { kept = Buffer(uninitialized: count) }
            }
            for row in stride(from: 0, to: term.rows.count, by: Self.rowsOfPiece) {
                let rows = row..<min(row + Self.rowsOfPiece, term.rows.count)
                for first in stride(from: 0, to: rank, by: Self.ranksOfPiece) {
                    let ranks = first..<min(first + Self.ranksOfPiece, rank)
                    pieces.append(Piece(term: index, rows: rows, ranks: ranks))
                    cost += rows.count * ranks.count * inputs
                    guard cost >= Self.worthwhile else { continue }
                    claims.append(pieces.count)
                    cost = 0
                }
            }
        }
        if claims[claims.count - 1] < pieces.count { claims.append(pieces.count) }
        if uCount > u.count { u = Buffer(uninitialized: uCount) }
        done.close(until: claimCount)
    }

    /// U of the pieces of a claim.
    func project(_ claim: Int, _ x: UnsafePointer<Float>, on compute: Compute) {
        for piece in pieces[claims[claim]..<claims[claim + 1]] {
            let term = terms[piece.term]
            let (rank, inputs) = (term.factors.rank, term.factors.inputs)
            withUnsafePointer(to: term.factors) {
                compute.kernels.low_rank_down(
                    $0, x + (term.rows.lowerBound + piece.rows.lowerBound) * inputs, inputs,
                    piece.rows.count, piece.ranks.lowerBound, piece.ranks.upperBound,
                    u.pointer + term.u + piece.rows.lowerBound * rank, rank)
            }
        }
        done.arrive()
    }

    /// Has memory read while the base product of some outputs is computed: their B, and a part of the next
    /// product's A.
    ///
    /// - share: which part, of so many.
    func fetch(of weight: Int, outputs: Range<Int>, share: Range<Int>, of total: Int) {
        let width = Int(QUANT_LOW_RANK_PANEL)
        for term in terms where term.weight == weight {
            // Panels follow each other.
            let column = term.factors.rank * term.factors.type.size
            let columns = outputs.lowerBound..<(outputs.upperBound + width - 1) / width * width
            quant_prefetch(term.factors.b + columns.lowerBound * column, columns.count * column)
        }
        var first = 0
        let wanted =
            upcomingBytes * share.lowerBound / total..<upcomingBytes * share.upperBound / total
        for memory in upcoming {
            let part = wanted.clamped(to: first..<first + memory.count)
            if let start = memory.baseAddress, !part.isEmpty {
                quant_prefetch(start + (part.lowerBound - first), part.count)
            }
            first += memory.count
        }
    }

    /// Before the base product is added to a weight's result: puts aside what the result holds, where an
    /// output scale would multiply it.
    func putAside(
        _ y: UnsafeMutablePointer<Float>, of weight: Int, outputs: Range<Int>, rows: Range<Int>
    ) {
        forEachTerm(of: weight, in: rows) { term, rows in
            guard term.outputScale != nil else { return }
            for row in rows {
                let first = row * term.factors.outputs + outputs.lowerBound
                (kept.pointer + first).update(from: y + first, count: outputs.count)
                (y + first).update(repeating: 0, count: outputs.count)
            }
        }
    }

    /// Adds the terms of some outputs and rows of a weight's result, which holds the base product, and
    /// multiplies it by the output scales.
    ///
    /// - y: the result [count, out].
    /// - restores: whether to add what was put aside.
    func add(
        to y: UnsafeMutablePointer<Float>, of weight: Int, outputs: Range<Int>, rows: Range<Int>,
        restores: Bool, on compute: Compute
    ) {
        done.wait()
        forEachTerm(of: weight, in: rows) { term, rows in
            let (rank, width) = (term.factors.rank, term.factors.outputs)
            withUnsafePointer(to: term.factors) {
                compute.kernels.low_rank_up(
                    $0, u.pointer + term.u + (rows.lowerBound - term.rows.lowerBound) * rank, rank,
                    rows.count, outputs.lowerBound, outputs.upperBound,
                    y + rows.lowerBound * width, width)
            }
            guard let c = term.outputScale else { return }
            for row in rows {
                let (y, kept) = (y + row * width, kept.pointer + row * width)
                if restores {
                    for o in outputs { y[o] = kept[o] + c[o] * y[o] }
                } else {
                    for o in outputs { y[o] *= c[o] }
                }
            }
        }
    }

    private func forEachTerm(
        of weight: Int, in rows: Range<Int>, _ body: (Term, Range<Int>) -> Void
    ) {
        for term in terms where term.weight == weight {
            let common = term.rows.clamped(to: rows)
            if !common.isEmpty { body(term, common) }
        }
    }
}
