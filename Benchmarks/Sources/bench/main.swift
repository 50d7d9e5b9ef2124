// Kernels of every instruction set and thread count, beside the ceilings probed in the same run.
import Foundation
import LorikeetQuant

/// Random weights [rows, columns] in NF4, quantized by the library itself.
func weights(rows: Int, columns: Int) -> WeightMatrix {
    let floats = Buffer<Float>(rows * columns)
    var state: UInt64 = 88_172_645_463_325_252
    for i in 0..<floats.count {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        floats[i] = Float(Int64(bitPattern: state) >> 40) * 0x1p-24
    }
    return withExtendedLifetime(floats) {
        QuantizedTensor(
            quantizing: UnsafeBufferPointer(floats.elements), shape: [rows, columns],
            configuration: QuantizationConfiguration(), on: Compute()
        ).weightMatrix()
    }
}

/// The rows of one instruction set on so many threads.
func measure(_ set: InstructionSet, threads: Int) -> [Row] {
    var rows: [Row] = []
    func add(_ name: String, _ figure: Double, _ unit: String, ceiling: Double) {
        rows.append(
            Row(
                name: name, instructionSet: set.name, threads: threads, figure: figure, unit: unit,
                ceiling: ceiling))
        FileHandle.standardError.write(Data((rows[rows.count - 1].line + "\n").utf8))
    }
    let exact = Compute(threads: threads, precision: .fp32, instructionSet: set)
    let bandwidth = Ceiling(exact, instructionSet: set).bandwidth / 1e9

    // The format: 64 M weights, which no cache holds.
    let floats = Buffer<Float>(64 << 20)
    floats.pointer.update(repeating: 0.3, count: floats.count)
    let quantization = seconds(runs: 3) {
        _ = QuantizedTensor(
            quantizing: UnsafeBufferPointer(floats.elements), shape: [1 << 14, 1 << 12],
            configuration: QuantizationConfiguration(), on: exact)
    }
    add(
        "quantize fp32 from memory", Double(floats.count) / quantization / 1e9, "G weights/s",
        ceiling: bandwidth / 4)

    // 4096 × 4096 of many layers in turn for a single row, so that weights come from memory; one for many.
    let copies = (0..<12).map { _ in weights(rows: 4096, columns: 4096) }
    let x = Buffer<Float>(512 * 4096)
    let y = Buffer<Float>(512 * 4096)
    for i in 0..<x.count { x[i] = Float(i % 17) - 8 }
    for precision in Precision.allCases {
        let compute = Compute(threads: threads, precision: precision, instructionSet: set)
        let peak = Ceiling(compute, instructionSet: set).operations(precision) / 1e9
        let activations = Activations(on: compute)
        let linears = copies.map { LinearWeight($0, on: compute) }
        func multiply(_ weight: LinearWeight, _ count: Int) {
            LinearWeight.multiply(
                [weight], x.pointer, count: count, using: activations, on: compute
            ) { _ in y.pointer }
        }
        let decode = seconds { for linear in linears { multiply(linear, 1) } }
        add(
            "matrix × vector, \(precision), 4096²",
            Double(linears.reduce(0) { $0 + $1.memory }) / decode / 1e9, "GB/s", ceiling: bandwidth)
        let operations = 2 * 512 * 4096.0 * 4096
        add(
            "matrix × 512 rows, \(precision), 4096²",
            operations / seconds(runs: 3) { multiply(linears[0], 512) } / 1e9, "G/s", ceiling: peak)
        guard precision != .int8 else { continue }
        let backward = seconds(runs: 3) {
            linears[0].multiplyBackward(
                x.pointer, count: 512, into: y.pointer, accumulate: false, using: activations,
                on: compute)
        }
        add(
            "backward, 512 rows, \(precision), 4096²", operations / backward / 1e9, "G/s",
            ceiling: peak)
    }
    return rows
}

let cores = ProcessInfo.processInfo.activeProcessorCount
let sets = InstructionSet.supported.filter { $0.name != "scalar" }
let rows = sets.flatMap { set in Set([1, cores]).sorted().flatMap { measure(set, threads: $0) } }
if CommandLine.arguments.contains("--json") {
    let data = try JSONSerialization.data(withJSONObject: rows.map(\.json), options: [.sortedKeys])
    FileHandle.standardOutput.write(data + Data("\n".utf8))
} else {
    print("| kernel | ISA | threads | figure | ceiling | share |\n|---|---|---|---|---|---|")
    for row in rows { print(row.line) }
}
