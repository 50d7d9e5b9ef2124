public import QuantKernels

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// A table of kernels for one instruction set.
public struct InstructionSet: Sendable, CustomStringConvertible {
    /// The functions; valid for the life of the process.
    public let kernels: quant_kernels

    /// `scalar`, `avx2` or `avx512`.
    public var name: String { String(cString: kernels.isa) }

    /// The name.
    public var description: String { name }

    /// The sets this machine has, scalar first, best last.
    public static let supported: [InstructionSet] = {
        var tables = [UnsafePointer<quant_kernels>?](repeating: nil, count: 8)
        let count = quant_kernels_supported(&tables, tables.count)
        return tables[..<count].map { InstructionSet(kernels: $0!.pointee) }
    }()

    /// The set that computations use: the best one, or the one that `LORIKEET_ISA` names.
    ///
    /// A name this machine does not have is reported by `forced(by:)`; here it traps.
    public static let current: InstructionSet = {
        guard let name = getenv("LORIKEET_ISA").map({ String(cString: $0) }) else {
            return supported.last!
        }
        guard let set = supported.first(where: { $0.name == name }) else {
            preconditionFailure("LORIKEET_ISA=\(name): this machine has \(supported)")
        }
        return set
    }()
}

extension quant_kernels: @unchecked @retroactive Sendable {
    // Unchecked: constant function pointers and a constant string.
}
