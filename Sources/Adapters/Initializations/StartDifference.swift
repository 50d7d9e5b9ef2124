import LorikeetQuant
import LorikeetRuntime

/// One layer's s (B A − B₀ A₀) as a single term of twice the rank: A above A₀, B beside −B₀.
///
/// A base that an adapter's start should be taken off from is shared and stays as it is; so the model,
/// and the saved adapter, have the start as a second half that does not change.
struct StartDifference {
    /// [A; A₀] and [B, −B₀].
    let delta: LowRankDelta
    /// Gradients of both halves; the second is of no use.
    let gradient: LowRankGradient

    /// The difference of `start` to itself: a term of zero.
    init(of start: LowRankDelta) {
        let (a, b, r) = (start.a, start.b, start.rank)
        delta = LowRankDelta(
            a: Buffer(2 * a.count), b: Buffer(2 * b.count), rank: 2 * r, scale: start.scale)
        gradient = LowRankGradient(a: Buffer(2 * a.count), b: Buffer(2 * b.count))
        (delta.a.pointer + a.count).update(from: a.pointer, count: a.count)
        for row in 0..<b.count / r {
            for i in 0..<r { delta.b[(2 * row + 1) * r + i] = -b[row * r + i] }
        }
        publish(start)
    }

    /// Copies A and B to where the model sees them.
    func publish(_ factors: LowRankDelta) {
        let (a, b, r) = (factors.a, factors.b, factors.rank)
        delta.a.pointer.update(from: a.pointer, count: a.count)
        for row in 0..<b.count / r {
            (delta.b.pointer + 2 * row * r).update(from: b.pointer + row * r, count: r)
        }
    }

    /// Copies the first halves of the gradients.
    func collect(into factors: LowRankGradient) {
        let (a, b, r) = (factors.a, factors.b, delta.rank / 2)
        a.pointer.update(from: gradient.a.pointer, count: a.count)
        for row in 0..<b.count / r {
            (b.pointer + row * r).update(from: gradient.b.pointer + 2 * row * r, count: r)
        }
    }

    func zeroGradients() {
        gradient.a.elements.update(repeating: 0)
        gradient.b.elements.update(repeating: 0)
    }
}
