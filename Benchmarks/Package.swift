// swift-tools-version: 6.1
import PackageDescription

let package = Package(
    name: "benchmarks",
    dependencies: [.package(name: "lorikeet", path: "..")],
    targets: [
        .target(
            name: "Ceilings", cSettings: [.unsafeFlags(["-O2", "-Wall", "-Wextra", "-Werror"])]),
        .executableTarget(
            name: "bench",
            dependencies: [
                "Ceilings",
                .product(name: "LorikeetQuant", package: "lorikeet"),
                .product(name: "LorikeetRuntime", package: "lorikeet"),
                .product(name: "LorikeetAdapters", package: "lorikeet"),
            ],
            swiftSettings: [.unsafeFlags(["-warnings-as-errors"])]),
        // The experiment itself is the tests', by way of links.
        .executableTarget(
            name: "matrix-factorization",
            dependencies: [
                .product(name: "LorikeetRuntime", package: "lorikeet"),
                .product(name: "LorikeetAdapters", package: "lorikeet"),
            ],
            swiftSettings: [.unsafeFlags(["-warnings-as-errors"])]),
        .executableTarget(
            name: "quantize-tensor",
            dependencies: [.product(name: "LorikeetQuant", package: "lorikeet")],
            swiftSettings: [.unsafeFlags(["-warnings-as-errors"])]),
        .executableTarget(
            name: "tokenize-text",
            dependencies: [.product(name: "LorikeetRuntime", package: "lorikeet")],
            swiftSettings: [.unsafeFlags(["-warnings-as-errors"])]),
    ]
)
