import Foundation

/// A recorded file of this test target, by its path below Resources.
func modelResource(_ path: String) -> URL {
    Bundle.module.bundleURL.appendingPathComponent("Resources/\(path)")
}
