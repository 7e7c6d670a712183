internal import CMPI

/// Where a rank runs.
public struct MPIEnvironment: Sendable {
    /// The name of the host.
    public let hostName: String
    /// This rank's number among the communicator's ranks on its host, from 0.
    public let localRank: Int
    /// The number of the communicator's ranks on this host.
    public let localSize: Int
    /// The MPI library and its version, in its own words.
    public let libraryVersion: String

    /// Asks on every rank of `communicator`. Collective.
    public init(_ communicator: borrowing Communicator) throws {
        let host = try communicator.splitByHost()
        localRank = host.rank
        localSize = host.size
        hostName =
            librarySays(capacity: Int(MPI_MAX_PROCESSOR_NAME)) { MPI_Get_processor_name($0, &$1) }
            ?? "unknown"
        libraryVersion = mpiLibraryVersion()
    }
}

/// The MPI library and its version, in its own words.
public func mpiLibraryVersion() -> String {
    let text = librarySays(capacity: Int(MPI_MAX_LIBRARY_VERSION_STRING)) { MPI_Get_library_version($0, &$1) }
    return text ?? "an unknown MPI library"
}
