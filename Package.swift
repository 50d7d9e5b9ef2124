// swift-tools-version: 6.1
import PackageDescription

let swiftSettings: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .unsafeFlags(["-warnings-as-errors"]),
]

// The kernels are optimized in debug builds too: tests of a real model run through them. Contraction is
// off so that every ISA rounds where the source says it does (quantization must equal bitsandbytes
// bit for bit).
let cSettings: [CSetting] = [
    .unsafeFlags(["-O2", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off"])
]

let package = Package(
    name: "lorikeet",
    products: [
        .executable(name: "lorikeet", targets: ["lorikeet"]),
        .library(name: "LorikeetQuant", targets: ["LorikeetQuant"]),
        .library(name: "LorikeetRuntime", targets: ["LorikeetRuntime"]),
        .library(name: "LorikeetAdapters", targets: ["LorikeetAdapters"]),
        .library(name: "LorikeetServer", targets: ["LorikeetServer"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.0.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.0.0"),
        .package(url: "https://github.com/apple/swift-nio-extras", from: "1.0.0"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.0.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.0.0"),
    ],
    targets: [
        .target(
            name: "QuantKernels", path: "Sources/Quant/Kernels", cSettings: cSettings),
        .target(
            name: "LorikeetQuant", dependencies: ["QuantKernels"], path: "Sources/Quant",
            exclude: ["Kernels"], swiftSettings: swiftSettings),
        .target(
            name: "LorikeetRuntime",
            dependencies: [
                "LorikeetQuant", "QuantKernels",
                .product(name: "OrderedCollections", package: "swift-collections"),
                .product(name: "HeapModule", package: "swift-collections"),
            ],
            path: "Sources/Runtime", swiftSettings: swiftSettings),
        .target(
            name: "LorikeetAdapters",
            dependencies: [
                "LorikeetQuant", "QuantKernels", "LorikeetRuntime", "COpenBLAS", "CLAPACKE",
                "CZstd",
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "OrderedCollections", package: "swift-collections"),
            ],
            path: "Sources/Adapters",
            resources: [.embedInCode("Calibration/calibration-text.txt")],
            swiftSettings: swiftSettings),
        .target(
            name: "LorikeetServer",
            dependencies: [
                "LorikeetQuant", "LorikeetRuntime", "LorikeetAdapters",
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HummingbirdTLS", package: "hummingbird"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOHTTPTypes", package: "swift-nio-extras"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
                .product(name: "OrderedCollections", package: "swift-collections"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "UnixSignals", package: "swift-service-lifecycle"),
            ],
            path: "Sources/Server", resources: [.embedInCode("Page/index.html")],
            swiftSettings: swiftSettings),
        .executableTarget(
            name: "lorikeet",
            dependencies: [
                "LorikeetQuant", "LorikeetRuntime", "LorikeetAdapters", "LorikeetServer",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "Yams", package: "Yams"),
            ],
            path: "Sources/cli", swiftSettings: swiftSettings),
        .systemLibrary(
            name: "COpenBLAS", path: "Sources/COpenBLAS", pkgConfig: "openblas",
            providers: [.apt(["libopenblas-dev"])]),
        .systemLibrary(
            name: "CLAPACKE", path: "Sources/CLAPACKE", pkgConfig: "lapacke",
            providers: [.apt(["liblapacke-dev"])]),
        .systemLibrary(
            name: "CZstd", path: "Sources/CZstd", pkgConfig: "libzstd",
            providers: [.apt(["libzstd-dev"])]),
        .target(
            name: "TestSupport",
            dependencies: ["LorikeetQuant", "QuantKernels", "LorikeetRuntime"],
            path: "Tests/TestSupport", swiftSettings: swiftSettings),
        .testTarget(
            name: "QuantTests", dependencies: ["LorikeetQuant", "QuantKernels", "TestSupport"],
            path: "Tests/QuantTests", resources: [.copy("Resources")], swiftSettings: swiftSettings),
        .testTarget(
            name: "RuntimeTests",
            dependencies: [
                "LorikeetQuant", "QuantKernels", "LorikeetRuntime", "TestSupport",
                .product(name: "OrderedCollections", package: "swift-collections"),
            ],
            path: "Tests/RuntimeTests", resources: [.copy("Resources")],
            swiftSettings: swiftSettings),
        .testTarget(
            name: "AdaptersTests",
            dependencies: [
                "LorikeetQuant", "LorikeetRuntime", "LorikeetAdapters", "TestSupport",
                .product(name: "Crypto", package: "swift-crypto"),
            ],
            path: "Tests/AdaptersTests", resources: [.copy("Resources")],
            swiftSettings: swiftSettings),
        .testTarget(
            name: "ServerTests",
            dependencies: [
                "LorikeetQuant", "LorikeetRuntime", "LorikeetAdapters", "LorikeetServer",
                "TestSupport",
                .product(name: "HummingbirdTesting", package: "hummingbird"),
            ],
            path: "Tests/ServerTests", swiftSettings: swiftSettings),
        .testTarget(
            name: "CLITests",
            dependencies: [
                "LorikeetQuant", "LorikeetRuntime", "LorikeetAdapters", "TestSupport", "lorikeet",
            ],
            path: "Tests/CLITests", swiftSettings: swiftSettings),
    ]
)
