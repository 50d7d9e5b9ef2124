import Ceilings
import LorikeetQuant

/// What the machine can do at best, probed in the same run.
struct Ceiling {
    private let compute: Compute
    private let isAVX512: Int32

    init(_ compute: Compute, instructionSet: InstructionSet) {
        self.compute = compute
        isAVX512 = instructionSet.name == "avx512" ? 1 : 0
    }

    /// Bytes read from memory per second.
    var bandwidth: Double {
        let probe = BandwidthProbe(on: compute)
        return (0..<5).map { _ in probe.measure() }.max() ?? 0
    }

    /// Operations per second of all threads; 0 for scalar code, whose ceiling says little.
    func operations(_ precision: Precision) -> Double {
        let probe =
            switch precision {
            case .fp32: ceiling_fp32
            case .int16: ceiling_int16
            case .int8: ceiling_int8
            }
        let rounds = 1 << 21
        let threads = compute.pool.count
        let done = probe(isAVX512, 1) * Double(rounds) * Double(threads)
        let time = seconds {
            compute.pool.run(pieces: threads) { _, _ in _ = probe(isAVX512, rounds) }
        }
        return done / time
    }
}
