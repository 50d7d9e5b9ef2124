import Crypto
import Foundation
import LorikeetRuntime
import TestSupport
import Testing

/// The default model as `make models` quantizes it against bitsandbytes' own bytes.
@Suite(.enabled(if: Fixtures.quantizedModel != nil, "run make models"))
struct QuantizedBaseTests {
    @Test func `every tensor has the digest of what transformers and bitsandbytes write`() throws {
        let path = try #require(Fixtures.quantizedModel)
        let list = try #require(
            Bundle.module.url(
                forResource: "smollm2_nf4dq_digests", withExtension: "txt",
                subdirectory: "Resources"))
        let expected = try String(contentsOf: list, encoding: .utf8).split(separator: "\n").map(
            String.init)
        let file = try SafetensorsFile(path: path + "/model.safetensors")
        // quant_state is JSON, whose numbers two programs may spell differently.
        let got = withExtendedLifetime(file) {
            file.tensors.filter { !$0.name.contains("quant_state") }.map { tensor in
                var hash = SHA256()
                hash.update(bufferPointer: tensor.bytes)
                let digest = hash.finalize().map { byte in
                    let digits = String(byte, radix: 16)
                    return digits.count == 1 ? "0" + digits : digits
                }.joined()
                let shape = tensor.shape.map(String.init).joined(separator: ",")
                return "\(tensor.name) \(tensor.type.rawValue) \(shape) \(digest)"
            }
        }
        #expect(expected.count == 1112)
        #expect(Set(got).symmetricDifference(expected).isEmpty)
    }
}
