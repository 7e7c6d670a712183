import Configs
import Foundation
import Kernels
import MessagePassing

/// How the matrix products of a run are done on the CPUs that it has.
package struct ProductPrecision {
    /// The configuration, with the precision that products really have.
    package let config: RunConfig
    /// nil where all products are BLAS's.
    package let tiles: TileMode?
    /// Why products have another precision than was asked for; nil when they have not.
    package let warning: String?

    /// For this process alone. Throws `.usage` when `LOCKSTEP_ISA` names no instructions.
    package init(_ config: RunConfig) throws {
        self.init(config, instructions: try Self.instructions())
    }

    /// The same for all ranks of `world`: what the least of their CPUs can do. Collective.
    init(_ config: RunConfig, on world: borrowing Communicator) throws {
        self.init(config, instructions: try Self.instructions(on: world))
    }

    /// What the least of the CPUs can do; nil when that is nothing. Collective.
    private static func instructions(on world: borrowing Communicator) throws -> TileInstructions? {
        let own = try world.collectively { try instructions() }
        let all = TileInstructions.allCases
        return try withUnsafeTemporaryAllocation(of: Int32.self, capacity: 1) { rank in
            rank[0] = Int32(own.flatMap(all.firstIndex(of:)) ?? -1)
            try world.allreduce(inPlace: rank, .min)
            return rank[0] < 0 ? nil : all[Int(rank[0])]
        }
    }

    /// How products of `precision` are done in tiles by all ranks of `world`; nil when they are BLAS's. Collective.
    package static func tiles(
        of precision: PrecisionConfig.MatMulPrecision, on world: borrowing Communicator
    ) throws -> TileMode? {
        guard let asked = precision.tiles, let instructions = try instructions(on: world) else { return nil }
        return instructions.mode(of: asked)
    }

    private init(_ config: RunConfig, instructions: TileInstructions?) {
        guard let asked = config.precision.matmul.tiles else {
            (self.config, tiles, warning) = (config, nil, nil)
            return
        }
        var config = config
        tiles = instructions?.mode(of: asked)
        if let tiles {
            if asked == .high { config.precision.productsOfHigh = tiles.products }
            warning = nil
        } else {
            warning =
                "precision.matmul \(config.precision.matmul.rawValue) needs a CPU with AMX or AVX-512, which is not what all "
                + "ranks have: products run as highest"
            config.precision.matmul = .highest
        }
        self.config = config
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

extension TileInstructions {
    fileprivate func mode(of precision: TilePrecision) -> TileMode {
        .of(precision, with: self, environment: ProcessInfo.processInfo.environment)
    }
}

extension HalfFormat {
    /// nil where activations are kept in fp32.
    package init?(_ format: PrecisionConfig.ActivationFormat) {
        switch format {
        case .fp32: return nil
        case .bf16: self = .bf16
        case .fp16: self = .fp16
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
