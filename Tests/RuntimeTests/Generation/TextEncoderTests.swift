import Foundation
import LorikeetQuant
import LorikeetRuntime
import TestSupport
import Testing

private let miniLM = Fixtures.existing("models/cache/all-MiniLM-L6-v2")

@Suite struct `Embeddings of an encoder` {
    @Test(
        .enabled(if: miniLM != nil, "all-MiniLM-L6-v2 is not there: models/fetch minilm"))
    func `are sentence-transformers'`() throws {
        let file = modelResource("minilm_embeddings.safetensors")
        let golden = try GoldenFile(file)
        let texts = try #require(
            try SafetensorsFile(path: file.path).metadata["texts"].map { text in
                try Array(text.utf8).withUnsafeBytes { try JSON(parsing: $0, source: "texts") }
            }?.array?.compactMap(\.string))
        let encoder = try TextEncoder(
            path: #require(miniLM), compute: Compute(threads: 2, precision: .fp32))
        #expect(encoder.pooling == .mean && encoder.maximumLength == 256)
        let vectors = try encoder.embeddings(of: texts)
        #expect(vectors.count == texts.count && vectors.allSatisfy { $0.count == 384 })
        let worst = zip(vectors.joined(), golden.floats("embeddings")).map { abs($0 - $1) }.max()
        // fp32 on both sides, six blocks deep, elements near 0.05.
        #expect(try #require(worst) <= 1e-5)
    }

    @Test(
        .enabled(if: miniLM != nil, "all-MiniLM-L6-v2 is not there: models/fetch minilm"),
        arguments: [Precision.fp32, .int16])
    func `of the quantized model point where the float model's do`(precision: Precision) throws {
        try Fixtures.withTemporaryFolder { folder in
            let path = folder + "/nf4"
            let report = try quantize(
                source: Checkpoints.open(#require(miniLM)), to: path, options: QuantizeOptions(),
                replace: false, compute: Compute())
            #expect(report.quantizedParameters == 6 * (4 * 384 * 384 + 2 * 384 * 1536))
            let compute = Compute(threads: 2, precision: precision)
            let texts = ["A man is eating food.", "The new movie is awesome."]
            let exact = try TextEncoder(path: #require(miniLM), compute: compute)
                .embeddings(of: texts)
            let encoder = try TextEncoder(path: path, compute: compute)
            // sentence-transformers' files came along.
            #expect(encoder.maximumLength == 256 && encoder.normalizes)
            let quantized = try encoder.embeddings(of: texts)
            for (x, y) in zip(exact, quantized) {
                // NF4 loses a tenth of a weight; the texts' own vectors are 0.1 apart from each other's.
                #expect(zip(x, y).reduce(0) { $0 + $1.0 * $1.1 } > 0.95)
            }
        }
    }

    @Test func `are as long as modules.json leaves them, and other modules are refused`() throws {
        try Fixtures.withTemporaryFolder { folder in
            try TinyTextEncoder.write("bert_cls", to: folder + "/model")
            func encoder(_ modules: String) throws -> TextEncoder {
                try Data(modules.utf8).write(to: URL(filePath: folder + "/model/modules.json"))
                return try TextEncoder(
                    path: folder + "/model", compute: Compute(threads: 1, precision: .fp32))
            }
            let (head, tail) = ("[{\"type\": \"a.Transformer\"}, {\"type\": \"a.Pooling\"}", "]")
            let mean = try encoder(head + tail).embeddings(of: ["ab"])[0]
            let unit = try encoder(head + ", {\"type\": \"a.Normalize\"}" + tail)
                .embeddings(of: ["ab"])[0]
            let length = mean.reduce(0) { $0 + $1 * $1 }.squareRoot()
            // LayerNorm leaves states of length 8: their mean is far from 1 as well.
            #expect(length > 2)
            #expect(zip(mean, unit).allSatisfy { abs($0 - $1 * length) <= 1e-5 })
            #expect(throws: LorikeetError.self) {
                try encoder(head + ", {\"type\": \"a.Dense\"}" + tail)
            }
        }
    }

    @Test func `have length 1, and are the same alone and among others`() throws {
        try Fixtures.withTemporaryFolder { folder in
            try TinyTextEncoder.write("deberta_v3_cls", to: folder + "/model")
            let encoder = try TextEncoder(
                path: folder + "/model", compute: Compute(threads: 2, precision: .fp32))
            // More than one part of a pass, and a text that is cut at the model's 64 positions.
            let texts = (0..<60).map { String(repeating: "ab c", count: 1 + $0 % 20) }
            let vectors = try encoder.embeddings(of: texts)
            for index in [0, 19, 59] {
                let alone = try encoder.embeddings(of: [texts[index]])[0]
                // The same sums in fp32, in products of other shapes.
                #expect(zip(alone, vectors[index]).allSatisfy { abs($0 - $1) <= 1e-5 })
                #expect(abs(alone.reduce(0) { $0 + $1 * $1 } - 1) <= 1e-5)
            }
            #expect(vectors[0] != vectors[1])
        }
    }
}
