import Foundation
import LorikeetQuant
import Testing

struct InstructionSetTests {
    @Test func `the scalar set comes first, the best last, each named once`() {
        let names = InstructionSet.supported.map(\.name)
        #expect(names.first == "scalar")
        #expect(names == ["scalar", "avx2", "avx512", "neon"].filter(names.contains))
    }

    @Test func `a set is found by its name`() {
        for set in InstructionSet.supported {
            #expect(InstructionSet.named(set.name)?.name == set.name)
        }
        #expect(InstructionSet.named("altivec") == nil)
        #expect(InstructionSet.named("") == nil)
    }

    @Test func `the current set is the requested one, or the best`() {
        let expected = InstructionSet.requested ?? InstructionSet.supported.last?.name
        #expect(InstructionSet.current.name == expected)
    }
}
