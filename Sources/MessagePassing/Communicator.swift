internal import CMPI
import Synchronization

/// A group of ranks that exchange messages.
///
/// An operation that every rank of the group calls together (all but sends and receives) must be called by all of
/// them, in the same order, with the same lengths, root and reduction. Buffers of elements are checked against each
/// other and `LengthMismatch` thrown; whatever MPI itself refuses is thrown as `MPIError`. Messages of any length
/// are allowed: above the C int that MPI counts with they travel in chunks.
public struct Communicator: ~Copyable {
    /// This process's number in the group, from 0.
    public let rank: Int
    /// The number of ranks in the group.
    public let size: Int

    let handle: MPI_Comm
    /// The largest number of elements handed to MPI at once.
    let chunkLength: Int
    /// The exit code that an error stands for, agreed on by `collectively`.
    let exitCode: (any Error) -> Int32
    private let isOurs: Bool
    private let payload = Atomic<Int>(0)

    /// The world, with errors returned instead of aborting the job. Communicators made from it inherit that.
    init(worldWithExitCode exitCode: @escaping (any Error) -> Int32) throws {
        let world = lockstep_mpi_comm_world()!
        try check(
            MPI_Comm_set_errhandler(world, lockstep_mpi_errors_return()), "MPI_Comm_set_errhandler")
        try self.init(handle: world, isOurs: false, chunkLength: Int(Int32.max), exitCode: exitCode)
    }

    private init(
        handle: MPI_Comm, isOurs: Bool, chunkLength: Int, exitCode: @escaping (any Error) -> Int32
    ) throws {
        var rank: Int32 = 0
        var size: Int32 = 0
        try check(MPI_Comm_rank(handle, &rank), "MPI_Comm_rank")
        try check(MPI_Comm_size(handle, &size), "MPI_Comm_size")
        self.rank = Int(rank)
        self.size = Int(size)
        self.handle = handle
        self.chunkLength = chunkLength
        self.exitCode = exitCode
        self.isOurs = isOurs
    }

    deinit {
        // A failure to free leaves nothing to do: the group is no longer used by anybody.
        var handle: MPI_Comm? = handle
        if isOurs { _ = MPI_Comm_free(&handle) }
    }

    /// Bytes that this rank has handed to operations of this communicator to be sent or reduced: the whole buffer of
    /// a send, reduce, allreduce, gather or allgather on every rank that contributes it, of a broadcast or scatter
    /// on the root. Nothing leaves a group of one, and nothing is counted there; nor is what `collectively` needs.
    public var payloadBytes: Int { payload.load(ordering: .relaxed) }

    /// Adds the bytes of `elements` to `payloadBytes`.
    func count(_ elements: Elements) {
        if size > 1 { payload.add(elements.bytes, ordering: .relaxed) }
    }

    func chunks(_ count: Int) -> Chunks { Chunks(count: count, limit: chunkLength) }

    /// The groups of ranks that gave the same `color`, each ordered by `key`, then by rank here. Collective.
    public func split(color: Int32, key: Int32) throws -> Communicator {
        var new: MPI_Comm? = lockstep_mpi_comm_null()
        try check(MPI_Comm_split(handle, color, key, &new), "MPI_Comm_split")
        return try derived(new!)
    }

    /// The same group with its own messages, which are never mistaken for those of this one. Collective.
    public func duplicate() throws -> Communicator { try duplicate(chunkLength: chunkLength) }

    /// A duplicate that hands MPI at most `chunkLength` elements at once: for tests of messages in chunks.
    package func duplicate(chunkLength: Int) throws -> Communicator {
        precondition(chunkLength > 0 && chunkLength <= Int(Int32.max), "a chunk of \(chunkLength) elements")
        var new: MPI_Comm? = lockstep_mpi_comm_null()
        try check(MPI_Comm_dup(handle, &new), "MPI_Comm_dup")
        return try derived(new!, chunkLength: chunkLength)
    }

    /// The ranks that share memory with this one: those on its host. Collective.
    public func splitByHost() throws -> Communicator {
        var new: MPI_Comm? = lockstep_mpi_comm_null()
        try check(
            MPI_Comm_split_type(handle, Int32(MPI_COMM_TYPE_SHARED), 0, lockstep_mpi_info_null(), &new),
            "MPI_Comm_split_type")
        return try derived(new!)
    }

    private func derived(_ new: MPI_Comm, chunkLength: Int? = nil) throws -> Communicator {
        try Communicator(
            handle: new, isOurs: true, chunkLength: chunkLength ?? self.chunkLength, exitCode: exitCode)
    }
}

/// MPI is called from the thread that initialized it and from no other.
@available(*, unavailable)
extension Communicator: Sendable {}

extension Int {
    /// This rank as MPI takes it. MPI gives negative numbers meanings of its own; here they are as wrong as numbers
    /// beyond the last rank, and MPI says so.
    var mpiRank: Int32 { self < 0 ? .max : Int32(clamping: self) }
}
