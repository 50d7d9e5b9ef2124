import Foundation
import LorikeetQuant
import QuantKernels
import TestSupport
import Testing

/// Everything that bitsandbytes 0.50.2 gave for 15 tensors, bit for bit, on every instruction set.
///
/// Where a recorded tensor is large the file holds its FNV-1a digest (`NAME.fnv1a`) instead.
struct ReferenceTensorTests {
    static let names = [
        "normal_f32", "normal_bf16", "outlier_f32", "outlier_bf16", "zeros_f32", "equal_f32",
        "odd_7x37_f32", "odd_3x50_f32", "odd_5x66_bf16", "vec100_f32", "big_256x1024_f32",
        "ties_f32", "extreme_f32", "real_l0_k_proj_f32", "real_l0_k_proj_bf16",
    ]

    let golden: GoldenFile

    init() throws {
        let url = Bundle.module.url(forResource: "Resources/nf4", withExtension: "safetensors")
        golden = try GoldenFile(try #require(url))
    }

    @Test(arguments: names, InstructionSet.supported)
    func `NF4 equals bitsandbytes`(name: String, instructionSet: InstructionSet) {
        let result = quantize(name, .nf4, doubleQuantization: false, on: instructionSet)
        expect(result.packed, equals: "\(name)/nf4/packed")
        expect(result.decodedAbsmax(), equals: "\(name)/nf4/absmax")
        expectDequantized(result, equals: "\(name)/nf4/dequant", on: instructionSet)
    }

    @Test(arguments: names, InstructionSet.supported)
    func `double quantization equals bitsandbytes`(
        name: String, instructionSet: InstructionSet
    )
        throws
    {
        let result = quantize(name, .nf4, doubleQuantization: true, on: instructionSet)
        guard case .nested(let nested) = result.absmax else {
            Issue.record("plain scales")
            return
        }
        expect(result.packed, equals: "\(name)/nf4/packed")
        expect(Buffer([nested.offset]), equals: "\(name)/nf4_dq/offset")
        // Its mean overflows to infinity: what follows is NaN, whose bits nobody specifies.
        if name == "extreme_f32" { return }
        expect(Buffer(nested.codes), equals: "\(name)/nf4_dq/absmax_q")
        expect(Buffer(nested.nestedAbsmax), equals: "\(name)/nf4_dq/nested_absmax")
        expect(nested.decoded(), equals: "\(name)/nf4_dq/absmax_dq")
        expectDequantized(result, equals: "\(name)/nf4_dq/dequant", on: instructionSet)
    }

    @Test(
        arguments: ["normal_f32", "odd_7x37_f32", "ties_f32", "real_l0_k_proj_f32"],
        InstructionSet.supported)
    func `FP4 equals bitsandbytes`(name: String, instructionSet: InstructionSet) {
        let result = quantize(name, .fp4, doubleQuantization: false, on: instructionSet)
        expect(result.packed, equals: "\(name)/fp4/packed")
        expect(result.decodedAbsmax(), equals: "\(name)/fp4/absmax")
        expectDequantized(result, equals: "\(name)/fp4/dequant", on: instructionSet)
    }

    @Test func `the tables are bitsandbytes'`() {
        expect(QuantizationFormat.nf4.codebook, equals: "tables/nf4")
        expect(QuantizationFormat.fp4.codebook, equals: "tables/fp4")
        expect(Buffer(DynamicMap.values), equals: "tables/dynamic_map")
    }

    // MARK: -

    private func quantize(
        _ name: String, _ format: QuantizationFormat, doubleQuantization: Bool,
        on instructionSet: InstructionSet
    ) -> QuantizedTensor {
        let compute = Compute(threads: 2, instructionSet: instructionSet)
        // The real bf16 tensor is the fp32 one, rounded.
        let source = name == "real_l0_k_proj_bf16" ? "real_l0_k_proj_f32" : name
        let input = Buffer(golden.floats("\(source)/input"))
        if source != name {
            let rounded = Buffer<UInt16>(input.count)
            compute.kernels.bf16_from_f32(input.pointer, input.count, rounded.pointer)
            compute.kernels.f32_from_bf16(rounded.pointer, input.count, input.pointer)
        }
        return QuantizedTensor(
            quantizing: UnsafeBufferPointer(input.elements),
            shape: golden.shape("\(source)/input"),
            configuration: QuantizationConfiguration(
                format: format, doubleQuantization: doubleQuantization), on: compute)
    }

    private func expectDequantized(
        _ tensor: QuantizedTensor, equals name: String, on instructionSet: InstructionSet
    ) {
        let compute = Compute(threads: 2, instructionSet: instructionSet)
        if name.contains("bf16") {
            expect(tensor.dequantizedBFloat16(on: compute), equals: name)
        } else {
            expect(tensor.dequantizedFloat32(on: compute), equals: name)
        }
    }

    private func expect<T>(
        _ actual: Buffer<T>, equals name: String,
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        let bytes = actual.array.withUnsafeBytes { [UInt8]($0) }
        if golden.contains("\(name).fnv1a") {
            let digest = withUnsafeBytes(of: fnv1a(bytes).littleEndian) { [UInt8]($0) }
            #expect(
                digest == golden.bytes("\(name).fnv1a"), "\(name)", sourceLocation: sourceLocation)
        } else {
            let expected = golden.bytes(name)
            let difference = zip(bytes, expected).enumerated().first { $1.0 != $1.1 }?.offset
            #expect(bytes.count == expected.count, "\(name)", sourceLocation: sourceLocation)
            #expect(
                difference == nil, "\(name): first byte that differs",
                sourceLocation: sourceLocation)
        }
    }

    private func fnv1a(_ bytes: [UInt8]) -> UInt64 {
        bytes.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
    }
}
