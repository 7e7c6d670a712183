import Configs

/// What the ranks of each host take together when a run's last step is done: `memory.json`.
public struct RunMemory: Codable, Sendable, Equatable {
    public struct Host: Codable, Sendable, Equatable {
        public var host: String
        public var ranks: Int
        /// Of all its ranks; pages that they share count once.
        public var bytes: Int

        private enum CodingKeys: String, CodingKey {
            case host, ranks, bytes
        }
    }

    public var schemaVersion = 2
    /// In the order of their first ranks, so that rank 0 runs on the first one.
    public var hosts: [Host]

    private enum CodingKeys: String, CodingKey {
        case schemaVersion = "schema_version"
        case hosts
    }

    /// - Parameters:
    ///   - shares: of every rank (`MemoryMeter.hostShare`).
    ///   - names: the host of every rank.
    public init(shares: [(own: Int, files: Int)], hosts names: [String]) {
        hosts = []
        var files: [Int] = []
        for (share, name) in zip(shares, names) {
            let index =
                hosts.firstIndex { $0.host == name }
                ?? {
                    hosts.append(Host(host: name, ranks: 0, bytes: 0))
                    files.append(0)
                    return hosts.count - 1
                }()
            hosts[index].ranks += 1
            hosts[index].bytes += share.own
            files[index] = max(files[index], share.files)
        }
        for index in hosts.indices { hosts[index].bytes += files[index] }
    }
}
