/// What training needs besides the machine itself, as `lockstep doctor` finds it.
public struct MachineSoftware: Sendable, Codable, Equatable {
    /// What `mpirun --version` prints; nil without `mpirun`.
    public var launcher: String?
    /// What the MPI library that the program is linked with says of itself.
    public var mpiLibrary: String
    public var isRoot: Bool
    /// Whether the environment tells `mpirun` that root is meant.
    public var rootIsAllowed: Bool
    /// OpenBLAS's description of its build.
    public var openBLAS: String
    /// Kernels that OpenBLAS chose for this CPU.
    public var openBLASCore: String
    /// Kernels for this CPU's vectors, where those that OpenBLAS uses are for narrower ones; else nil.
    public var openBLASBetterCore: String?
    /// `OPENBLAS_CORETYPE`, if set: it overrides the choice.
    public var openBLASCoreType: String?
    /// `OPENBLAS_NUM_THREADS`, if set.
    public var openBLASThreads: String?
    /// The instructions that multiply bf16 matrices and what they serve, for people; nil when `LOCKSTEP_ISA` names none.
    public var bf16Products: String?
    /// `LOCKSTEP_ISA`, if set: it caps them.
    public var bf16Cap: String?
    /// x86-64 level that the vector kernels were built for, and the level of this CPU; 0 on other architectures.
    public var builtISALevel: Int
    public var cpuISALevel: Int
    /// Free bytes, and whether files can be created, in the working directory.
    public var diskFree: Int
    public var canWrite: Bool
    /// Free bytes of `/dev/shm`, where ranks of one host exchange messages; nil without it.
    public var sharedMemoryFree: Int?

    public init(
        launcher: String?, mpiLibrary: String, isRoot: Bool, rootIsAllowed: Bool, openBLAS: String,
        openBLASCore: String, openBLASBetterCore: String?, openBLASCoreType: String?,
        openBLASThreads: String?, bf16Products: String?, bf16Cap: String?, builtISALevel: Int,
        cpuISALevel: Int, diskFree: Int, canWrite: Bool, sharedMemoryFree: Int?
    ) {
        self.launcher = launcher
        self.mpiLibrary = mpiLibrary
        self.isRoot = isRoot
        self.rootIsAllowed = rootIsAllowed
        self.openBLAS = openBLAS
        self.openBLASCore = openBLASCore
        self.openBLASBetterCore = openBLASBetterCore
        self.openBLASCoreType = openBLASCoreType
        self.openBLASThreads = openBLASThreads
        self.bf16Products = bf16Products
        self.bf16Cap = bf16Cap
        self.builtISALevel = builtISALevel
        self.cpuISALevel = cpuISALevel
        self.diskFree = diskFree
        self.canWrite = canWrite
        self.sharedMemoryFree = sharedMemoryFree
    }

    enum CodingKeys: String, CodingKey {
        case launcher
        case mpiLibrary = "mpi_library"
        case isRoot = "is_root"
        case rootIsAllowed = "root_is_allowed"
        case openBLAS = "openblas"
        case openBLASCore = "openblas_core"
        case openBLASBetterCore = "openblas_better_core"
        case openBLASCoreType = "openblas_coretype"
        case openBLASThreads = "openblas_threads"
        case bf16Products = "bf16_products"
        case bf16Cap = "lockstep_isa"
        case builtISALevel = "built_isa_level"
        case cpuISALevel = "cpu_isa_level"
        case diskFree = "disk_free"
        case canWrite = "can_write"
        case sharedMemoryFree = "shared_memory_free"
    }
}
