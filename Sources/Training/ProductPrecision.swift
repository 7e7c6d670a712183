import Configs
import Foundation
import Kernels
import MessagePassing

/// How the matrix products of a run are done on the CPUs that it has.
package struct ProductPrecision {
    /// The configuration, with the precision that products really have.
    package let config: RunConfig
    /// nil where all products are done in fp32.
    package let tiles: TileMode?
    /// Why products have another precision than was asked for; nil when they have not.
    package let warning: String?

    /// For this process alone. Throws `.usage` when `LOCKSTEP_ISA` names no instructions, `.badConfiguration` for a
    /// precision that does not go with the rest.
    package init(_ config: RunConfig) throws {
        try self.init(config, instructions: try Self.instructions())
    }

    /// The same for all ranks of `world`: what the least of their CPUs can do. Collective.
    init(_ config: RunConfig, on world: borrowing Communicator) throws {
        let own = try world.collectively { try Self.instructions() }
        let ranks = TileInstructions.allCases
        let index = own.map { ranks.firstIndex(of: $0)! + 1 } ?? 0
        let least = try withUnsafeTemporaryAllocation(of: Int32.self, capacity: 1) { value in
            value[0] = Int32(index)
            try world.allreduce(inPlace: value, .min)
            return Int(value[0])
        }
        self = try world.collectively {
            try ProductPrecision(config, instructions: least == 0 ? nil : ranks[least - 1])
        }
    }

    private init(_ config: RunConfig, instructions: TileInstructions?) throws {
        guard let asked = config.precision.matmul.tiles else {
            (self.config, tiles, warning) = (config, nil, nil)
            return
        }
        guard config.parallel.threadsPerRank == 1 else {
            throw LockstepError(
                .badConfiguration,
                "precision.matmul \(config.precision.matmul.rawValue) works with one thread of a rank, and "
                    + "parallel.threads_per_rank is \(config.parallel.threadsPerRank); use more ranks instead, or "
                    + "precision.matmul highest")
        }
        guard let instructions else {
            var config = config
            warning =
                "precision.matmul \(config.precision.matmul.rawValue) needs a CPU with AMX or AVX-512 BF16, which this "
                + "one is not: products run as highest"
            config.precision.matmul = .highest
            (self.config, tiles) = (config, nil)
            return
        }
        (self.config, tiles, warning) = (
            config, TileMode(precision: asked, instructions: instructions), nil
        )
    }

    /// What multiplies tiles here; nil when nothing does. Emulation, which is slow, only when it is asked for by name.
    private static func instructions() throws -> TileInstructions? {
        let environment = ProcessInfo.processInfo.environment
        do {
            let instructions = try TileSupport.here(environment: environment).instructions
            let isAskedFor = environment["LOCKSTEP_ISA"] == TileInstructions.emulated.rawValue
            return instructions == .emulated && !isAskedFor ? nil : instructions
        } catch {
            throw LockstepError(.usage, "\(error)")
        }
    }
}

extension PrecisionConfig.MatMulPrecision {
    fileprivate var tiles: TilePrecision? {
        switch self {
        case .highest: nil
        case .high: .high
        case .medium: .medium
        }
    }
}
