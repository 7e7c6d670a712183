import Configs
import Cost
import MessagePassing

/// The groups of ranks that gradients and sharded parameters travel in: those of a host, and across the hosts those with
/// the same number on their host.
///
/// The ring has one group of all ranks, as if they shared a host, and each rank alone across. These communicators carry a
/// step's reductions and nothing else, so that their count of bytes is the step's traffic.
package final class Topology {
    package let reduction: ParallelConfig.Reduction
    /// Number of hosts that the ranks are spread over.
    package let hosts: Int
    /// All ranks.
    let all: Communicator
    package var ranks: Int { all.size }
    let local: Communicator
    let across: Communicator

    /// Bytes that this rank has sent.
    var sentBytes: Int { all.payloadBytes + local.payloadBytes + across.payloadBytes }

    /// The groups for `reduction` on the hosts that the ranks of `world` run on. Collective; throws what
    /// `init(_:hosts:world:)` throws.
    package convenience init(
        _ reduction: ParallelConfig.Reduction, world: borrowing Communicator
    ) throws {
        try self.init(reduction, host: world.splitByHost(), world: world)
    }

    /// The groups for `reduction`, `host` being this rank's part of a split of `world`. Collective; throws
    /// `.badConfiguration` through `collectively` when a hierarchy is asked for and hosts differ in their number of ranks.
    package init(
        _ reduction: ParallelConfig.Reduction, host: consuming Communicator, world: borrowing Communicator
    ) throws {
        let spread = try Spread(host, world: world)
        if reduction == .hierarchical {
            try world.collectively { try spread.requireEqualHosts() }
        }
        hosts = spread.hosts
        let hasLevels = spread.hosts > 1 && spread.most > 1 && spread.least == spread.most
        let isHierarchical = reduction == .hierarchical || (reduction == .auto && hasLevels)
        self.reduction = isHierarchical ? .hierarchical : .ring
        all = try world.duplicate()
        if isHierarchical {
            across = try world.split(color: Int32(host.rank), key: Int32(world.rank))
            local = host
        } else {
            across = try world.split(color: Int32(world.rank), key: 0)
            local = try world.duplicate()
        }
    }
}

/// How ranks are spread over hosts.
private struct Spread {
    let hosts: Int
    /// Ranks of the emptiest and the fullest host.
    let least: Int
    let most: Int

    /// Asks all ranks. Collective.
    init(_ host: borrowing Communicator, world: borrowing Communicator) throws {
        var sizes = [Int64(host.size), Int64(-host.size)]
        var leaders = [Int64(host.rank == 0 ? 1 : 0)]
        try sizes.withUnsafeMutableBufferPointer { try world.allreduce(inPlace: $0, .max) }
        try leaders.withUnsafeMutableBufferPointer { try world.allreduce(inPlace: $0, .sum) }
        (most, least, hosts) = (Int(sizes[0]), Int(-sizes[1]), Int(leaders[0]))
    }

    func requireEqualHosts() throws {
        guard least == most else {
            throw LockstepError(
                .badConfiguration,
                "parallel.reduction hierarchical needs the same number of ranks on every host, but the \(hosts) hosts "
                    + "of this run have from \(least) to \(most); start as many on each (mpirun --map-by ppr:\(least):node) "
                    + "or use parallel.reduction=ring")
        }
    }
}

extension Estimate {
    /// What `config` costs on the ranks of `topology`.
    package init(
        config: RunConfig, over topology: Topology, profile: Profile? = nil, corpusTokens: Int? = nil
    ) throws {
        var config = config
        config.parallel.reduction = topology.reduction
        try self.init(
            config: config, ranks: topology.all.size, hosts: topology.hosts, profile: profile,
            corpusTokens: corpusTokens)
    }
}
