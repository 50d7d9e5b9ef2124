import Foundation
import LorikeetQuant
import LorikeetRuntime

/// Quantizing the default model's GGUF into a folder, beside writing as many bytes there; the source is
/// in the page cache.
func measureQuantizing(_ source: any Checkpoint, into folder: String) throws -> Row {
    let compute = Compute()
    let files = try TokenizerFiles(source).files
    var bytes = 0
    let quantizing = try seconds(runs: 3) {
        bytes = try quantize(
            source: source, to: folder + "/nf4", options: QuantizeOptions(), replace: true,
            compute: compute, tokenizerFiles: files
        ).outputBytes
    }
    let output = [UInt8](repeating: 1, count: bytes)
    let writing = try seconds(runs: 3) {
        try AtomicOutput.write(output, to: folder + "/bytes")
    }
    return Row(
        "quantize a GGUF", on: compute, Double(bytes) / quantizing / 1e6, "MB/s written",
        ceiling: Double(bytes) / writing / 1e6)
}
