import Foundation
import LorikeetRuntime
import TestSupport

/// Writes `bytes` as a file called `name` in a fresh folder and hands its path to `body`.
func withFile<Result>(
    _ name: String, _ bytes: [UInt8], _ body: (String) throws -> Result
) throws -> Result {
    try Fixtures.withTemporaryFolder { folder in
        let path = folder + "/" + name
        try Data(bytes).write(to: URL(filePath: path))
        return try body(path)
    }
}

/// The error that `body` throws, if it is one that a user can read; nil when it throws nothing.
func failure(_ body: () throws -> Void) throws -> LorikeetError? {
    do {
        try body()
        return nil
    } catch let error as LorikeetError {
        return error
    }
}

/// Every tensor that opened is read, so that a lie of the header would be a read out of bounds.
func sum(_ tensors: [Tensor]) -> Int {
    tensors.reduce(0) { $0 + $1.bytes.reduce(0) { $0 &+ Int($1) } }
}
