import Configs

/// What the ranks of each host take together when a run's last step is done: `memory.json`.
public struct RunMemory: Codable, Sendable, Equatable {
    public struct Host: Codable, Sendable, Equatable {
        public var host: String
        public var ranks: Int
        /// Sum of its ranks' proportional set sizes, in bytes: pages that ranks share count once.
        public var bytes: Int

        private enum CodingKeys: String, CodingKey {
            case host, ranks
            case bytes = "proportional_set_size"
        }
    }

    public var schemaVersion = 1
    /// In the order of their first ranks, so that rank 0 runs on the first one.
    public var hosts: [Host]

    private enum CodingKeys: String, CodingKey {
        case schemaVersion = "schema_version"
        case hosts
    }

    /// - Parameters:
    ///   - sizes: proportional set size of every rank, in bytes.
    ///   - names: the host of every rank.
    public init(proportionalSetSizes sizes: [Int], hosts names: [String]) {
        hosts = []
        for (size, name) in zip(sizes, names) {
            let index =
                hosts.firstIndex { $0.host == name }
                ?? {
                    hosts.append(Host(host: name, ranks: 0, bytes: 0))
                    return hosts.count - 1
                }()
            hosts[index].ranks += 1
            hosts[index].bytes += size
        }
    }
}
