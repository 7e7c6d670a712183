import Foundation

/// An executable that the package builds, next to the running tests.
public func builtProduct(_ name: String) throws -> URL {
    let tests = URL(filePath: CommandLine.arguments[0]).resolvingSymlinksInPath()
    let product = tests.deletingLastPathComponent().appending(path: name)
    guard FileManager.default.isExecutableFile(atPath: product.path) else {
        throw CommandError(description: "\(product.path) is not built; `swift build --build-tests` makes it")
    }
    return product
}

/// Runs `program`, an executable of the package, on `ranks` ranks of this machine, however few its cores.
///
/// The exit code is mpirun's: that of the first rank to leave with one that is not zero.
public func mpirun(
    ranks: Int, program: String, arguments: [String] = [], environment: [String: String] = [:],
    timeout: Double = 60
) throws -> CommandResult {
    let confirmations = ["OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"]
    let inherited = ProcessInfo.processInfo.environment
    if getuid() == 0, !confirmations.allSatisfy({ inherited[$0] == "1" }) {
        throw CommandError(
            description:
                "OpenMPI refuses to run as root unless told twice; if this is a container or a throw-away "
                + "machine, set \(confirmations.map { "\($0)=1" }.joined(separator: " ")) and test again")
    }
    let launch = ["mpirun", "--oversubscribe", "-n", "\(ranks)", try builtProduct(program).path]
    return try run(
        URL(filePath: "/usr/bin/env"), launch + arguments, environment: environment, timeout: timeout)
}
