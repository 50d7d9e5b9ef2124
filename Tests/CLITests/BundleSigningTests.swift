import Foundation
import LorikeetRuntime
import TestSupport
import Testing

/// `lorikeet bundle keygen`, `sign` and `verify --trusted-keys`, as a user runs them.
struct BundleSigningTests {
    private let adapter = Fixtures.root.appending(path: "Tests/AdaptersTests/Resources/plain")
        .path(percentEncoded: false)

    private func bundle(_ arguments: String...) throws -> Program.Outcome {
        try Program.run(["bundle"] + arguments)
    }

    @Test func `a bundle is trusted when one of the keys signed it, and refused otherwise`() throws
    {
        try Fixtures.withTemporaryFolder { folder in
            let (own, other, file) = (folder + "/own", folder + "/other", folder + "/a.lorikeet")
            for key in [own, other] { #expect(try bundle("keygen", "--output", key).status == 0) }
            #expect(try bundle("keygen", "--output", own).status == 1)
            #expect(try bundle("pack", adapter, "--output", file).status == 0)
            let unsigned = try bundle("verify", file, "--trusted-keys", own + ".pub")
            #expect(unsigned.status == 1 && unsigned.errors.contains("not signed"))

            let signed = try bundle("sign", file, "--key", own, "--json")
            let signer = try #require(signed.json["signer"]?.string)
            let trusted = try bundle("verify", file, "--trusted-keys", own + ".pub")
            #expect(trusted.status == 0 && trusted.output.contains(signer.prefix(12)))
            let foreign = try bundle("verify", file, "--trusted-keys", other + ".pub")
            #expect(foreign.status == 1 && foreign.errors.contains(signer))
            // A public key does not sign.
            #expect(try bundle("sign", file, "--key", own + ".pub").status == 1)
            #expect(try bundle("verify", file).status == 0)
        }
    }
}
