import LorikeetQuant
public import LorikeetRuntime
import OrderedCollections

extension AdapterConfiguration {
    /// Leaves out of `deltas` the ranks whose column of B is zero, and says so in `rankPattern` and
    /// `alphaPattern`: each term and its scale stay what they were.
    ///
    /// A layer without any other rank keeps one, for PEFT knows no rank 0.
    public mutating func leaveOutUnusedRanks(of deltas: inout [ModulePath: LowRankDelta]) {
        for (path, delta) in deltas.sorted(by: { $0.key.description < $1.key.description }) {
            let rank = delta.rank
            let (inputs, outputs) = (delta.a.count / rank, delta.b.count / rank)
            var used = (0..<rank).filter { k in
                (0..<outputs).contains { delta.b[$0 * rank + k] != 0 }
            }
            if used.isEmpty { used = [0] }
            guard used.count < rank else { continue }
            let a = Buffer<Float>(used.count * inputs)
            let b = Buffer<Float>(outputs * used.count)
            for (new, old) in used.enumerated() {
                for i in 0..<inputs { a[new * inputs + i] = delta.a[old * inputs + i] }
                for i in 0..<outputs { b[i * used.count + new] = delta.b[i * rank + old] }
            }
            deltas[path] = LowRankDelta(a: a, b: b, rank: used.count, scale: delta.scale)
            rankPattern[path.description] = used.count
            let divisor =
                usesRSLoRA ? Double(used.count).squareRoot() : Double(used.count)
            alphaPattern[path.description] = Double(delta.scale) * divisor
        }
    }
}
