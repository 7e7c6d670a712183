import Configs

/// What a machine can do, as `lockstep calibrate` measured it: a readable JSON file.
public struct Profile: Codable, Sendable, Equatable {
    /// Version of the format that this program writes and reads.
    public static let currentSchemaVersion = 19

    public var schemaVersion = Profile.currentSchemaVersion
    /// When it was measured, ISO 8601.
    public var created: String
    public var machine: Machine
    /// One for every way of sharing the cores that was measured.
    public var layouts: [Layout]
    /// What the matrix library keeps for packed operands.
    public var packing: Packing
    /// What happened while measuring that a reader of estimates should know.
    public var notes: [String] = []

    enum CodingKeys: String, CodingKey {
        case schemaVersion = "schema_version"
        case created, machine, layouts, packing, notes
    }

    public init(created: String, machine: Machine, layouts: [Layout], packing: Packing) {
        self.created = created
        self.machine = machine
        self.layouts = layouts
        self.packing = packing
    }
}

extension Profile {
    /// Where a profile was made. Rates hold where CPU and libraries are the same.
    public struct Machine: Codable, Sendable, Equatable {
        public var host: String
        public var cpu: String
        public var cores: Int
        /// Bytes of main memory.
        public var memory: Int
        /// Bytes of the cache that a core has for itself.
        public var privateCache: Int
        public var mpi: String
        public var blas: String
        /// Kernels that BLAS chose for this CPU.
        public var blasKernels: String
        /// x86-64 level that the vector kernels were built for.
        public var isaLevel: Int
        /// What multiplied bf16 tiles, as `LOCKSTEP_ISA` names it.
        public var tileInstructions: String

        public init(
            host: String, cpu: String, cores: Int, memory: Int, privateCache: Int, mpi: String, blas: String,
            blasKernels: String, isaLevel: Int, tileInstructions: String
        ) {
            self.host = host
            self.cpu = cpu
            self.cores = cores
            self.memory = memory
            self.privateCache = privateCache
            self.mpi = mpi
            self.blas = blas
            self.blasKernels = blasKernels
            self.isaLevel = isaLevel
            self.tileInstructions = tileInstructions
        }

        enum CodingKeys: String, CodingKey {
            case host, cpu, cores, memory, mpi, blas
            case privateCache = "private_cache"
            case blasKernels = "blas_kernels"
            case isaLevel = "isa_level"
            case tileInstructions = "tile_instructions"
        }

        /// What differs on `other` in a way that changes rates, as `name: here, there`; the host's name alone does not.
        public func differences(from other: Machine) -> [String] {
            func difference(_ name: String, _ path: (Machine) -> String) -> String? {
                path(self) == path(other) ? nil : "\(name): \(excerpt(path(self))), here \(path(other))"
            }
            return [
                difference("CPU", \.cpu), difference("cores", { String($0.cores) }), difference("MPI", \.mpi),
                difference("BLAS", \.blas), difference("BLAS kernels", \.blasKernels),
                difference("instruction set level", { String($0.isaLevel) }),
                difference("bf16 products", \.tileInstructions),
            ].compactMap { $0 }
        }
    }

    /// Everything measured with `ranksPerHost` ranks of `threads` threads at work at the same time on each of `hosts` hosts.
    public struct Layout: Codable, Sendable, Equatable {
        public var hosts: Int
        public var ranksPerHost: Int
        public var threads: Int
        /// Seconds that the measurements took.
        public var duration: Double
        public var reference: ReferenceSpeed
        /// By `Product.Role`: over activations, and within the heads of attention.
        public var products: [String: ProductModel]
        public var headProducts: [String: ProductModel.Fit]
        /// By `TileProductKind`, of those that are of use on this CPU.
        public var tiles: [String: TileProductTimes] = [:]
        /// By `RowKernel`.
        public var kernels: [String: RowKernelModel]
        /// Copy bandwidth by the bytes that a rank copies over and over.
        public var bandwidth: [Bandwidth]
        public var reductions: [ReductionModel]
        /// How reductions go on while a rank computes; nil on one host.
        public var overlap: Overlap?
        /// Measured steps of small models over the time that kernels and products alone add up to, by phase.
        public var phases: PhaseCorrection
        public var checkpoint: CheckpointModel?
        public var memory: BareRank
        /// Measured of one rank alone.
        public var inference: InferenceModel?

        public init(
            hosts: Int, ranksPerHost: Int, threads: Int, duration: Double, reference: ReferenceSpeed,
            products: [String: ProductModel], headProducts: [String: ProductModel.Fit],
            kernels: [String: RowKernelModel], bandwidth: [Bandwidth], reductions: [ReductionModel],
            overlap: Overlap?, phases: PhaseCorrection, checkpoint: CheckpointModel?, memory: BareRank
        ) {
            self.hosts = hosts
            self.ranksPerHost = ranksPerHost
            self.threads = threads
            self.duration = duration
            self.reference = reference
            self.products = products
            self.headProducts = headProducts
            self.kernels = kernels
            self.bandwidth = bandwidth
            self.reductions = reductions
            self.overlap = overlap
            self.phases = phases
            self.checkpoint = checkpoint
            self.memory = memory
        }

        enum CodingKeys: String, CodingKey {
            case hosts, threads, duration, reference, products, tiles, kernels, bandwidth, reductions,
                overlap,
                phases
            case checkpoint, memory, inference
            case ranksPerHost = "ranks_per_host"
            case headProducts = "head_products"
        }
    }

    /// What becomes of a second of reduction while the ranks compute and only now and then call MPI.
    public struct Overlap: Codable, Sendable, Equatable {
        /// Of the speed that a reduction has by itself, what it has while backward goes on.
        public var progress: Double
        /// Seconds that its calls take from the computation.
        public var cost: Double

        public init(progress: Double, cost: Double) {
            self.progress = progress
            self.cost = cost
        }
    }

    public struct Bandwidth: Codable, Sendable, Equatable {
        /// Bytes read and written over and over.
        public var bytes: Int
        public var bytesPerSecond: Double

        public init(bytes: Int, bytesPerSecond: Double) {
            self.bytes = bytes
            self.bytesPerSecond = bytesPerSecond
        }

        enum CodingKeys: String, CodingKey {
            case bytes
            case bytesPerSecond = "bytes_per_second"
        }
    }

    /// Seconds of a checkpoint: a fixed part and one that grows with its bytes.
    public struct CheckpointModel: Codable, Sendable, Equatable {
        public var seconds: Double
        public var secondsPerByte: Double

        public init(seconds: Double, secondsPerByte: Double) {
            self.seconds = seconds
            self.secondsPerByte = secondsPerByte
        }

        enum CodingKeys: String, CodingKey {
            case seconds
            case secondsPerByte = "seconds_per_byte"
        }
    }

    /// Peak memory of a rank beside its arenas, the matrix library's packed operands and the mapped corpus, in bytes:
    /// binary, libraries, MPI, bookkeeping. Measured by a short run that evaluates, saves and verifies.
    public struct BareRank: Codable, Sendable, Equatable {
        /// Heap, stacks and buffers.
        public var anonymous: Int
        /// Mapped files, which ranks of a host share.
        public var file: Int
        /// Shared between ranks of a host.
        public var shared: Int
        /// What rank 0 has more than the others: it writes the ledger, checkpoints and the verification.
        public var coordinator: Int

        public init(anonymous: Int, file: Int, shared: Int, coordinator: Int) {
            self.anonymous = anonymous
            self.file = file
            self.shared = shared
            self.coordinator = coordinator
        }

        /// Of any rank but rank 0.
        public var total: Int { anonymous + file + shared }
    }
}
