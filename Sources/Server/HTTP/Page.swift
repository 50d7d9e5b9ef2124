import Crypto
import Foundation
import Hummingbird
import NIOCore

/// The page at `GET /`, and what a browser may do with it.
struct Page: Sendable {
    private let text = PackageResources.index_html
    private let policy: String

    /// Lets the page's own scripts and styles run, by their digests, and nothing else: no other origin is
    /// asked for anything, and no other page may frame it.
    init() {
        let html = String(decoding: text, as: UTF8.self)
        policy = [
            "default-src 'none'", "script-src \(Self.digests(of: "script", in: html))",
            "style-src \(Self.digests(of: "style", in: html))", "connect-src 'self'",
            "img-src 'self' data:", "base-uri 'none'", "form-action 'none'",
            "frame-ancestors 'none'",
        ].joined(separator: "; ")
    }

    /// The page.
    var response: Response {
        Response(
            status: .ok,
            headers: [
                .contentType: "text/html; charset=utf-8", .contentSecurityPolicy: policy,
                .xContentTypeOptions: "nosniff", .cacheControl: "no-cache",
            ], body: ResponseBody(byteBuffer: ByteBuffer(bytes: text)))
    }

    /// The sources of a policy for every inline element of that name: base64 of SHA-256 (CSP Level 3, 2.3.1).
    static func digests(of element: String, in html: String) -> String {
        var rest = html[...]
        var sources: [String] = []
        while let start = rest.range(of: "<\(element)"),
            let open = rest[start.upperBound...].firstIndex(of: ">"),
            let end = rest[open...].range(of: "</\(element)>")
        {
            let content = rest[rest.index(after: open)..<end.lowerBound]
            let digest = Data(SHA256.hash(data: Data(content.utf8))).base64EncodedString()
            sources.append("'sha256-\(digest)'")
            rest = rest[end.upperBound...]
        }
        return sources.isEmpty ? "'none'" : sources.joined(separator: " ")
    }
}
