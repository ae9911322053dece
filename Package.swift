// swift-tools-version: 6.2
import PackageDescription

/// Every target of ours: Swift 6 language mode, warnings are errors.
let strict: [SwiftSetting] = [
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
]

let nio: [Target.Dependency] = [
    .product(name: "NIOCore", package: "swift-nio"),
    .product(name: "NIOPosix", package: "swift-nio"),
    .product(name: "NIOSSL", package: "swift-nio-ssl"),
    .product(name: "NIOTLS", package: "swift-nio"),
]

let certificates: [Target.Dependency] = [
    .product(name: "Crypto", package: "swift-crypto"),
    .product(name: "SwiftASN1", package: "swift-asn1"),
    .product(name: "X509", package: "swift-certificates"),
]

let package = Package(
    name: "pgtandem",
    products: [.executable(name: "pgtandem", targets: ["pgtandem"])],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser.git", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-asn1.git", from: "1.7.0"),
        .package(url: "https://github.com/apple/swift-certificates.git", from: "1.21.0"),
        .package(url: "https://github.com/apple/swift-crypto.git", from: "4.5.0"),
        .package(url: "https://github.com/apple/swift-log.git", from: "1.16.0"),
        .package(url: "https://github.com/apple/swift-nio.git", from: "2.101.0"),
        .package(url: "https://github.com/apple/swift-nio-ssl.git", from: "2.37.0"),
        .package(url: "https://github.com/jpsim/Yams.git", from: "6.2.0"),
    ],
    targets: [
        // C: what Glibc's overlay lacks, and the client library of PostgreSQL.
        .target(name: "CLinux"),
        .systemLibrary(name: "Clibpq", pkgConfig: "libpq", providers: [.apt(["libpq-dev"])]),

        // The decision core. Imports nothing, not even Foundation; a test holds it to that.
        .target(name: "TandemCore", swiftSettings: strict),

        // Two hosts and a witness, all of it from one seed: runs the very core of the agent through faults.
        .target(name: "TandemSimulator", dependencies: ["TandemCore"], swiftSettings: strict),

        // `pgtandem simulate`, and the same as a small program of its own: an optimized build of the whole one takes many minutes.
        .target(
            name: "TandemSimulatorCommand",
            dependencies: [
                "TandemCore", "TandemSimulator", "TandemSystem",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: strict),
        .executableTarget(
            name: "tandem-simulate",
            dependencies: ["TandemSimulatorCommand", .product(name: "ArgumentParser", package: "swift-argument-parser")],
            swiftSettings: strict),

        // Threads, clocks, durable files, processes: the small part of an operating system that the shell needs.
        .target(name: "TandemSystem", dependencies: ["CLinux"], swiftSettings: strict),

        // Documents that leave the process: messages between agents, status, the ledger's text.
        .target(name: "TandemWire", dependencies: ["TandemCore"], swiftSettings: strict),

        .target(
            name: "TandemConfiguration",
            dependencies: ["TandemCore", "TandemSystem", .product(name: "Yams", package: "Yams")],
            swiftSettings: strict),

        // The agent: loop, interpreter, ports, ledger file, control socket.
        .target(
            name: "TandemRuntime",
            dependencies: [
                "CLinux", "TandemCore", "TandemSystem", "TandemWire", "TandemConfiguration",
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: strict),

        // Adapters.
        .target(name: "TandemLinux", dependencies: ["CLinux", "TandemSystem"], swiftSettings: strict),
        .target(
            name: "TandemPostgres", dependencies: ["CLinux", "Clibpq", "TandemCore", "TandemSystem"], swiftSettings: strict),
        .target(
            name: "TandemNetwork",
            dependencies: nio + certificates + ["TandemSystem"],
            swiftSettings: strict),

        // The witness: one small process for many pairs.
        .target(
            name: "TandemWitness",
            dependencies: [
                "TandemCore", "TandemSystem", "TandemWire", "TandemRuntime", "TandemNetwork",
                .product(name: "Logging", package: "swift-log"), .product(name: "NIOCore", package: "swift-nio"),
            ],
            swiftSettings: strict),

        // Two real hosts on one machine: used by the demo, the tests and the bench.
        .target(name: "TandemLab", dependencies: ["CLinux", "Clibpq", "TandemSystem"], swiftSettings: strict),

        .executableTarget(
            name: "pgtandem",
            dependencies: [
                "CLinux", "TandemCore", "TandemSystem", "TandemWire", "TandemConfiguration", "TandemRuntime", "TandemLinux",
                "TandemPostgres", "TandemNetwork", "TandemWitness", "TandemLab", "TandemSimulatorCommand",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: strict),

        // Tests: stories of the core; adapters against real parts; two real hosts; rules of style that a program can check.
        .testTarget(name: "StoryTests", dependencies: ["TandemCore", "TandemSimulator"], swiftSettings: strict),
        .testTarget(name: "TandemSimulatorTests", dependencies: ["TandemCore", "TandemSimulator"], swiftSettings: strict),
        .testTarget(name: "TandemSystemTests", dependencies: ["TandemSystem", "CLinux"], swiftSettings: strict),
        .testTarget(name: "TandemLinuxTests", dependencies: ["TandemLinux", "TandemSystem", "CLinux"], swiftSettings: strict),
        .testTarget(
            name: "TandemPostgresTests", dependencies: ["TandemPostgres", "CLinux", "TandemCore", "TandemSystem"],
            swiftSettings: strict),
        .testTarget(
            name: "TandemNetworkTests",
            dependencies: nio + certificates + ["TandemNetwork", "TandemSystem", "CLinux"],
            swiftSettings: strict),
        .testTarget(
            name: "TandemWitnessTests",
            dependencies: [
                "CLinux", "TandemWitness", "TandemNetwork", "TandemCore", "TandemWire", "TandemSystem", "pgtandem",
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: strict),
        .testTarget(
            name: "TandemConfigurationTests", dependencies: ["TandemConfiguration", "TandemCore"], swiftSettings: strict),
        .testTarget(
            name: "TandemRuntimeTests", dependencies: ["TandemRuntime", "TandemCore", "TandemWire", "TandemSystem"],
            swiftSettings: strict),
        .testTarget(name: "TandemLabTests", dependencies: ["TandemLab", "TandemSystem", "pgtandem"], swiftSettings: strict),
        .testTarget(
            name: "LabTests", dependencies: ["TandemLab", "TandemSystem", "TandemWire", "pgtandem"], swiftSettings: strict),
        .testTarget(name: "TidyTests", swiftSettings: strict),
    ],
    swiftLanguageModes: [.v6]
)
