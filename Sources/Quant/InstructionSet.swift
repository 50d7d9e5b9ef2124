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

    /// `scalar`, `avx2`, `avx512` or `neon`.
    public var name: String { String(cString: kernels.isa) }

    /// The name.
    public var description: String { name }

    /// The sets this machine has, scalar first, best last.
    public static let supported: [InstructionSet] = {
        var tables = [UnsafePointer<quant_kernels>?](repeating: nil, count: 8)
        let count = quant_kernels_supported(&tables, tables.count)
        return tables[..<count].compactMap { $0.map { InstructionSet(kernels: $0.pointee) } }
    }()

    /// The set of that name, if this machine has it.
    public static func named(_ name: String) -> InstructionSet? {
        supported.first { $0.name == name }
    }

    /// What `LORIKEET_ISA` asks for; nil if it is unset or empty.
    ///
    /// A program checks it with `named(_:)` when it starts, and reports a name that this machine does
    /// not have; `current` traps on one.
    public static var requested: String? {
        guard let value = getenv("LORIKEET_ISA"), value.pointee != 0 else { return nil }
        return String(cString: value)
    }

    /// The set that computations use: the best one, or the one that `LORIKEET_ISA` names.
    public static let current: InstructionSet = {
        guard let name = requested else { return supported[supported.count - 1] }
        guard let set = named(name) else {
            preconditionFailure("LORIKEET_ISA=\(name): this machine has \(supported)")
        }
        return set
    }()
}

extension quant_kernels: @unchecked @retroactive Sendable {
    // Unchecked: constant function pointers and a constant string.
}
