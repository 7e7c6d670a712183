// swift-tools-version: 6.3
import Foundation
import PackageDescription

/// The x86-64 level (1-4) that the vector kernels are compiled for: the build machine's own, unless
/// `LOCKSTEP_ISA_LEVEL` names a lower one for a cluster of older nodes. A rank on a CPU below it says so at start.
let isaLevel: Int = {
    if let text = Context.environment["LOCKSTEP_ISA_LEVEL"], let level = Int(text), (1...4).contains(level) {
        return level
    }
    let description = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)) ?? ""
    let flagsLine = description.split(separator: "\n").first { $0.hasPrefix("flags") } ?? ""
    let flags = Set(flagsLine.split(separator: " ").map(String.init))
    if flags.isSuperset(of: ["avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"]) { return 4 }
    if flags.isSuperset(of: ["avx2", "fma", "bmi2"]) { return 3 }
    return 1
}()

/// Without errno a square root is one vector instruction instead of a test and a call per lane.
let vectorFlags: [SwiftSetting] =
    [
        .unsafeFlags(
            ["-Xcc", "-fno-math-errno"] + (isaLevel == 1 ? [] : ["-Xcc", "-march=x86-64-v\(isaLevel)"]))
    ] + (isaLevel == 4 ? [.define("WIDE_VECTORS")] : [])

let upcoming: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
]

/// The fuzzer of `launch/fuzz`: it links only with libFuzzer, so that an ordinary build does not see it.
let fuzzer: [Target] =
    Context.environment["LOCKSTEP_FUZZER"] == nil
    ? []
    : [
        .executableTarget(
            name: "fuzzer", dependencies: ["FuzzTargets"], path: "Tests/Fuzzer", swiftSettings: upcoming)
    ]

let package = Package(
    name: "lockstep",
    products: [
        .executable(name: "lockstep", targets: ["lockstep"]),
        .executable(name: "benchmarks", targets: ["benchmarks"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.0.0"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
    ],
    targets: [
        .systemLibrary(name: "CMPI", pkgConfig: "ompi-c", providers: [.apt(["libopenmpi-dev"])]),
        .systemLibrary(name: "COpenBLAS", pkgConfig: "openblas", providers: [.apt(["libopenblas-dev"])]),
        .target(name: "CTiles", cSettings: [.define("LOCKSTEP_ISA_LEVEL", to: "\(isaLevel)")]),
        .target(name: "MessagePassing", dependencies: ["CMPI"], swiftSettings: upcoming),
        .target(
            name: "Kernels", dependencies: ["COpenBLAS", "CTiles"], swiftSettings: upcoming + vectorFlags),
        .target(name: "Configs", dependencies: ["Yams"], swiftSettings: upcoming),
        .target(name: "Cost", dependencies: ["Configs"], swiftSettings: upcoming),
        .target(name: "Corpus", dependencies: ["Configs"], swiftSettings: upcoming),
        .target(name: "Transformer", dependencies: ["Configs", "Kernels"], swiftSettings: upcoming),
        .target(
            name: "Interchange", dependencies: ["Configs", "Corpus", "Kernels", "Transformer"],
            swiftSettings: upcoming),
        .target(name: "Ledger", dependencies: ["Configs", "Cost"], swiftSettings: upcoming),
        .target(
            name: "Training",
            dependencies: [
                "MessagePassing", "CTiles", "Kernels", "Configs", "Cost", "Corpus", "Interchange",
                "Transformer",
                "Ledger",
                .product(name: "Crypto", package: "swift-crypto"),
            ],
            swiftSettings: upcoming),
        .target(
            name: "Calibration",
            dependencies: [
                "MessagePassing", "Kernels", "Configs", "Cost", "Corpus", "CTiles", "Transformer", "Ledger",
                "Training",
            ],
            swiftSettings: upcoming),
        .executableTarget(
            name: "lockstep",
            dependencies: [
                "Calibration", "Corpus", "Training", "Kernels", "Ledger", "MessagePassing", "Configs", "Cost",
                "CTiles", "Transformer",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: upcoming),
        .executableTarget(
            name: "benchmarks",
            dependencies: [
                "Configs", "Corpus", "Cost", "CTiles", "Kernels", "Ledger", "MessagePassing", "Training",
                "Transformer", .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: upcoming),

        .target(name: "TestSupport", path: "Tests/TestSupport", swiftSettings: upcoming),
        .target(
            name: "CostTestSupport", dependencies: ["Cost"], path: "Tests/CostTestSupport",
            swiftSettings: upcoming),
        .target(
            name: "TransformerTestSupport", dependencies: ["Transformer", "TestSupport"],
            path: "Tests/TransformerTestSupport", swiftSettings: upcoming),
        .target(name: "AllocationCounter", path: "Tests/AllocationCounter"),
        .target(name: "TileTrap", dependencies: ["CTiles"], path: "Tests/TileTrap"),
        .executableTarget(
            name: "rank-programs", dependencies: ["Training", "AllocationCounter"],
            path: "Tests/RankPrograms",
            swiftSettings: upcoming),
        .target(
            name: "FuzzTargets",
            dependencies: [
                "Configs", "Corpus", "Cost", "Interchange", "Kernels", "Ledger", "Training", "Transformer",
                "TestSupport",
            ],
            path: "Tests/FuzzTargets", exclude: ["Seeds"], swiftSettings: upcoming),
        .testTarget(name: "FuzzTests", dependencies: ["FuzzTargets"], swiftSettings: upcoming),
        .testTarget(
            name: "MessagePassingTests", dependencies: ["MessagePassing", "TestSupport", "rank-programs"],
            swiftSettings: upcoming),
        .testTarget(
            name: "KernelsTests",
            dependencies: ["CTiles", "Kernels", "TestSupport", "TileTrap", "rank-programs"],
            exclude: ["Fixtures"],
            swiftSettings: upcoming),
        .testTarget(name: "ConfigsTests", dependencies: ["Configs", "TestSupport"], swiftSettings: upcoming),
        .testTarget(
            name: "CostTests", dependencies: ["Cost", "Configs", "CostTestSupport", "TestSupport"],
            swiftSettings: upcoming),
        .testTarget(name: "CorpusTests", dependencies: ["Corpus", "TestSupport"], swiftSettings: upcoming),
        .testTarget(
            name: "TransformerTests", dependencies: ["Transformer", "Cost", "TransformerTestSupport"],
            swiftSettings: upcoming),
        .testTarget(
            name: "InterchangeTests", dependencies: ["Interchange", "TransformerTestSupport"],
            swiftSettings: upcoming),
        .testTarget(
            name: "LedgerTests", dependencies: ["Ledger", "Configs", "CostTestSupport", "TestSupport"],
            swiftSettings: upcoming),
        .testTarget(
            name: "TrainingTests",
            dependencies: [
                "Training", "Corpus", "Kernels", "CostTestSupport", "TransformerTestSupport", "rank-programs",
                "lockstep",
            ],
            swiftSettings: upcoming),
        .testTarget(
            name: "CommandLineTests", dependencies: ["lockstep", "CostTestSupport", "TestSupport"],
            swiftSettings: upcoming),
    ] + fuzzer,
    swiftLanguageModes: [.v6]
)
