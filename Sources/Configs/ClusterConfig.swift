/// Nodes that a run is planned for: as many as there are, all alike.
///
/// YAML keys are the snake_case forms of the property names. A property that has an initial value is optional in YAML.
public struct ClusterConfig: Sendable, Equatable {
    /// Joins the nodes; every node has one link to it.
    public struct Network: Sendable, Equatable {
        /// Of a node's link, in each direction at the same time.
        public var bandwidth: TransferRate
        /// From a message's start on one node to its arrival on another, without its transfer.
        public var latency: TimeSpan

        public init(bandwidth: TransferRate, latency: TimeSpan) {
            self.bandwidth = bandwidth
            self.latency = latency
        }
    }

    /// What starts the ranks.
    public enum Launcher: String, Sendable, CaseIterable { case mpirun, slurm }

    public var name: String
    public var nodes: Int
    /// Of a node.
    public var cores: Int
    /// Of a node.
    public var memory: ByteSize
    /// Part of a node's memory that is not for Lockstep: the operating system's, other services'.
    public var reservedMemory = ByteSize(0)
    public var network: Network
    /// Drawn by a node at work.
    public var watts: Double?
    /// In any currency.
    public var pricePerNodeHour: Double?
    public var launcher = Launcher.mpirun

    /// Bytes of a node that a run may take.
    public var availableMemory: Int { Int(memory.number - reservedMemory.number) }

    public init(name: String, nodes: Int, cores: Int, memory: ByteSize, network: Network) {
        self.name = name
        self.nodes = nodes
        self.cores = cores
        self.memory = memory
        self.network = network
    }

    /// Reads and validates a cluster file.
    ///
    /// - Throws: `LockstepError`: `inputMissing` if the file cannot be read, `badConfiguration` if something in it is wrong.
    public static func load(path: String) throws -> ClusterConfig {
        try parse(readText(path: path, kind: "cluster", example: "configs/cluster-64.yaml"), source: path)
    }

    /// Parses and validates the text of a cluster file.
    ///
    /// - Parameter source: the file's name in error messages.
    public static func parse(_ text: String, source: String) throws -> ClusterConfig {
        let cluster = try readDocument(text, source: source)
        guard cluster.reservedMemory.number < cluster.memory.number else {
            throw Origin.file(source).error(
                "reserved_memory \(cluster.reservedMemory.yaml) leaves nothing of memory \(cluster.memory.yaml)"
            )
        }
        return cluster
    }
}

extension ClusterConfig: Section {
    static var initial: ClusterConfig {
        ClusterConfig(name: "", nodes: 0, cores: 0, memory: ByteSize(0), network: .initial)
    }

    static var keys: [Key<ClusterConfig>] {
        [
            Key("name", \.name, required: true, .folderName),
            Key("nodes", \.nodes, required: true, .within(1...1_048_576)),
            Key("cores", \.cores, required: true, .within(1...4096)),
            Key("memory", \.memory, required: true, .between("64MiB", "1024TiB")),
            Key("reserved_memory", \.reservedMemory),
            Key(section: "network", \.network),
            Key("watts", \.watts, .positiveIfAny(upTo: 1_000_000)),
            Key("price_per_node_hour", \.pricePerNodeHour, .positiveIfAny(upTo: 1_000_000)),
            Key("launcher", \.launcher),
        ]
    }
}

extension ClusterConfig.Network: Section {
    static var initial: ClusterConfig.Network { .init(bandwidth: .init(0), latency: .init(0)) }

    static var keys: [Key<ClusterConfig.Network>] {
        [
            Key("bandwidth", \.bandwidth, required: true, .between("100kbit", "100000gbit")),
            Key("latency", \.latency, required: true, .between("10ns", "10s")),
        ]
    }
}

extension Limit where Value: UnitValue {
    /// - Parameter lowest, highest: as in a file.
    fileprivate static func between(_ lowest: String, _ highest: String) -> Limit {
        let bounds = [lowest, highest].compactMap { Value(parsing: $0)?.number }
        return Limit(text: "from \(lowest) to \(highest)") {
            bounds[0] <= $0.number && $0.number <= bounds[1]
        }
    }
}

extension Limit<Double?> {
    fileprivate static func positiveIfAny(upTo bound: Double) -> Limit {
        Limit(text: "above 0 and at most \(Int(bound))") { $0.map { $0 > 0 && $0 <= bound } ?? true }
    }
}
