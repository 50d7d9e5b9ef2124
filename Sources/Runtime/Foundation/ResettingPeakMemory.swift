#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// Lets `peakMemoryBytes()` count anew from what is resident now.
///
/// Linux does so for any process that writes 5 to its own /proc/self/clear_refs (proc(5)).
///
/// - Returns: false where the system does not, and the peak stays that of the whole process.
public func resetPeakMemory() -> Bool {
    let descriptor = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return false }
    defer { close(descriptor) }
    return write(descriptor, "5", 1) == 1
}
