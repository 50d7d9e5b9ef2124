// The ids of a text on one thread, as peers/tokenizers_encode.py times it; prints one JSON object.
import Foundation
import LorikeetRuntime

guard CommandLine.arguments.count == 3 else { fatalError("tokenize-text MODEL TEXT") }
let tokenizer = try TokenizerFiles(path: CommandLine.arguments[1]).tokenizer()
let text = try Data(contentsOf: URL(filePath: CommandLine.arguments[2]))
let clock = ContinuousClock()
var count = 0
let samples = (0..<7).map { _ in
    clock.measure {
        count = text.withUnsafeBytes { tokenizer.encode(bytes: $0, addSpecialTokens: false) }.count
    } / .seconds(1)
}
let seconds = samples.sorted()[3]
print("{\"text_bytes_per_second\": \(Double(text.count) / seconds), \"tokens\": \(count)}")
