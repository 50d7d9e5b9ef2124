// swift-tools-version: 6.1
import PackageDescription

let package = Package(
    name: "benchmarks",
    dependencies: [.package(name: "lorikeet", path: "..")],
    targets: [
        .target(
            name: "Ceilings", cSettings: [.unsafeFlags(["-O2", "-Wall", "-Wextra", "-Werror"])]),
        .executableTarget(
            name: "kernels",
            dependencies: ["Ceilings", .product(name: "LorikeetQuant", package: "lorikeet")],
            swiftSettings: [.unsafeFlags(["-warnings-as-errors"])]),
    ]
)
