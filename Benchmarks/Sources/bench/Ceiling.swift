import Ceilings
import LorikeetQuant

/// What the machine can do at best with an instruction set and so many threads, probed when asked for.
struct Ceiling {
    private let compute: Compute
    private let probe: BandwidthProbe

    init(_ compute: Compute) {
        self.compute = compute
        probe = BandwidthProbe(on: compute)
    }

    /// Bytes read from memory per second: the best of a few reads.
    var bandwidth: Double { (0..<3).map { _ in probe.measure() }.max() ?? 0 }

    /// A row of how fast `body` reads `bytes`.
    ///
    /// The probe reads in turn with it, for memory may change its speed by half from one second to the
    /// next.
    func reading(_ name: String, bytes: Int, on compute: Compute, _ body: () -> Void) -> Row {
        var most = 0.0
        let time = seconds(beside: { most = max(most, probe.measure()) }, body)
        return Row(name, on: compute, Double(bytes) / time / 1e9, "GB/s", ceiling: most / 1e9)
    }

    /// Operations per second of all threads in the arithmetic that `precision` computes in.
    func operations(_ precision: Precision) -> Double {
        switch precision {
        case .fp32: operations(ceiling_fp32)
        case .int16: operations(ceiling_int16)
        case .int8: operations(ceiling_int8)
        }
    }

    /// The ceilings themselves.
    var rows: [Row] {
        let probes = [
            ("fp32", ceiling_fp32), ("bf16", ceiling_bf16), ("int16", ceiling_int16),
            ("int8", ceiling_int8),
        ]
        return [Row("reading memory", on: compute, bandwidth / 1e9, "GB/s")]
            + probes.compactMap { name, probe in
                let rate = operations(probe)
                return rate > 0
                    ? Row("multiply-adds in registers, \(name)", on: compute, rate / 1e9, "G/s")
                    : nil
            }
    }

    private func operations(_ probe: (_ isAVX512: Int32, _ rounds: Int) -> Double) -> Double {
        let rounds = 1 << 21
        let isAVX512: Int32 = String(cString: compute.kernels.isa) == "avx512" ? 1 : 0
        let threads = compute.pool.count
        let done = probe(isAVX512, 1) * Double(rounds) * Double(threads)
        let time = seconds {
            compute.pool.run(pieces: threads) { _, _ in _ = probe(isAVX512, rounds) }
        }
        return done / time
    }
}
