import Configs
import Cost
import Kernels
import Ledger
import MessagePassing

/// What is asked of the machines before a run touches their disks or memory.
enum Preflight {
    /// Linux runs on at most this many CPUs.
    private static let mostCPUs = 8192

    /// Refuses ranks of different programs, configurations or libraries. Collective.
    static func compare(_ config: RunConfig, on world: borrowing Communicator) throws {
        var comparison = RankComparison()
        try world.collectively {
            comparison.add("the program", fingerprint: try Fingerprint.of(file: "/proc/self/exe"))
        }
        comparison.add("the configuration", fingerprint: Fingerprint.of(config.yaml()))
        comparison.add("the MPI library", mpiLibraryVersion())
        comparison.add("OpenBLAS", OpenBLAS.configuration)
        comparison.add("OpenBLAS's choice of kernels", OpenBLAS.coreName)
        try comparison.check(
            "Use one folder that all hosts see, the same libraries on all of them and the same settings for all ranks; "
                + "where CPUs differ, OPENBLAS_CORETYPE with the oldest one's kernels makes them alike.",
            on: world)
    }

    /// Refuses ranks whose corpus is not the same. Collective.
    static func compare(corpus files: [String], on world: borrowing Communicator) throws {
        var comparison = RankComparison()
        try world.collectively {
            for file in files { comparison.add(file, fingerprint: try Fingerprint.of(file: file)) }
        }
        try comparison.check("Give all hosts the same files, best in one folder that all see.", on: world)
    }

    /// Refuses ranks that do not start with the same parameters. Collective.
    static func compare(_ parameters: Vector, on world: borrowing Communicator) throws {
        var comparison = RankComparison()
        comparison.add(
            "the initial parameters",
            fingerprint: Fingerprint.of(
                UnsafeRawBufferPointer(start: parameters.base, count: 4 * parameters.count)))
        try comparison.check(
            "This should not be: the mathematical libraries of the hosts may differ.", on: world)
    }

    /// Refuses what does not fit into memory, and warns of too few cores. Collective.
    static func check(
        _ config: RunConfig, _ topology: Topology, profile: Profile?, on world: borrowing Communicator
    ) throws {
        let host = try MPIEnvironment(world)
        try world.collectively {
            let memory = try Estimate(config: config, over: topology, profile: profile).memory
            let demand = MemoryDemand(
                bytes: memory.peak ?? memory.arenas, ranks: host.localSize, host: host.hostName)
            try demand.check(
                MachineFacts(),
                remedy: try MemoryRemedy(config, over: topology).text(ranksOfHost: host.localSize))
        }
        try warnOfCrowding(host, threads: config.parallel.threadsPerRank, on: world)
    }

    /// One rank of a host says when the threads of all its ranks are more than the cores that they may use.
    private static func warnOfCrowding(
        _ host: MPIEnvironment, threads: Int, on world: borrowing Communicator
    ) throws {
        // A launcher may have bound every rank to cores of its own, so that only all masks together tell.
        var isUsable = [UInt8](repeating: 0, count: mostCPUs)
        for core in MachineFacts.usableCores() where core < mostCPUs { isUsable[core] = 1 }
        let neighbours = try world.splitByHost()
        try isUsable.withUnsafeMutableBufferPointer { try neighbours.allreduce(inPlace: $0, .max) }
        let cores = isUsable.count { $0 > 0 }
        let needed = host.localSize * threads
        guard host.localRank == 0, cores > 0, needed > cores else { return }
        reportToStandardError(
            "lockstep: warning: \(host.localSize) × \(threads) (ranks × threads) on \(host.hostName) need "
                + "\(needed) cores, but may use \(cores): they will wait for each other. Start fewer ranks or "
                + "lower parallel.threads_per_rank; if the machine has more cores, widen the affinity mask "
                + "(taskset, batch system) or mpirun's binding (--map-by slot:PE=\(threads) --bind-to core).")
    }
}

/// Memory that ranks of a host are about to allocate.
struct MemoryDemand {
    /// Of a rank.
    let bytes: Int
    /// Ranks of the host.
    let ranks: Int
    let host: String

    /// Throws `.badConfiguration`, with what helps, when the host has less. Linux hands out memory that it does not have
    /// and then kills whoever touches it, so that this is asked before the first allocation.
    func check(_ machine: MachineFacts, remedy: @autoclosure () throws -> String) throws {
        let (total, overflows) = bytes.multipliedReportingOverflow(by: ranks)
        let needed = overflows ? Int.max : total
        guard let usable = machine.memoryUsable, needed > usable else { return }
        let subject =
            ranks == 1
            ? "a rank needs \(Quantity.bytes(needed))"
            : "\(ranks) ranks need \(Quantity.bytes(needed)) (\(Quantity.bytes(bytes)) each)"
        throw LockstepError(
            .badConfiguration,
            "host \(host) has not enough memory: \(subject), which is \(Quantity.bytes(needed - usable)) more than the "
                + "\(Quantity.bytes(usable)) available; \(try remedy())")
    }
}
