/// What this machine offers to this process; `MachineFacts.init(root:)` reads it.
public struct MachineFacts: Sendable, Codable, Equatable {
    public var host: String
    public var cpuModel: String
    /// Instruction set extensions by the names of `/proc/cpuinfo`, sorted.
    public var cpuFlags: [String]
    /// Hardware threads of the machine.
    public var onlineCPUs: Int
    /// Hardware threads that the affinity mask lets this process use.
    public var affinityCPUs: Int
    /// Cores that those belong to.
    public var cores: Int
    /// CPU time per second that the control group allows; nil without a limit.
    public var cpuQuota: Double?
    /// Bytes; 0 when unknown.
    public var memoryTotal: Int
    /// Bytes that can be had without swapping; 0 when unknown.
    public var memoryAvailable: Int
    /// Bytes that the control group allows; nil without a limit below the machine's memory.
    public var cgroupMemoryLimit: Int?
    /// Bytes that processes here can still have; nil when unknown.
    public var memoryUsable: Int? {
        memoryAvailable > 0 ? min(memoryAvailable, cgroupMemoryLimit ?? .max) : nil
    }
    /// `always`, `madvise` or `never`; nil where the kernel has none.
    public var transparentHugePages: String?

    enum CodingKeys: String, CodingKey {
        case host
        case cpuModel = "cpu_model"
        case cpuFlags = "cpu_flags"
        case onlineCPUs = "online_cpus"
        case affinityCPUs = "affinity_cpus"
        case cores
        case cpuQuota = "cpu_quota"
        case memoryTotal = "memory_total"
        case memoryAvailable = "memory_available"
        case cgroupMemoryLimit = "cgroup_memory_limit"
        case transparentHugePages = "transparent_huge_pages"
    }
}
