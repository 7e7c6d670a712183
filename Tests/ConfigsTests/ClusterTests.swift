import Configs
import Foundation
import Testing

private let cluster = """
    name: lab
    nodes: 4
    cores: 16
    memory: 64GiB
    network: {bandwidth: 10gbit, latency: 20us}
    """

private func parsed(_ text: String = cluster) throws -> ClusterConfig {
    try ClusterConfig.parse(text, source: "c.yaml")
}

private func clusterRefusal(_ text: String) -> String {
    let error = #expect(throws: LockstepError.self) { try parsed(text) }
    #expect(error?.status == .badConfiguration)
    return error?.description ?? ""
}

@Suite struct ClusterTests {
    @Test func unitsAreRead() throws {
        let lab = try parsed(
            cluster + "\nreserved_memory: 1.5 GB\nwatts: 300\nprice_per_node_hour: 0.5\nlauncher: slurm")
        #expect(lab.nodes == 4 && lab.cores == 16)
        #expect(lab.memory.number == 64 * 0x1p30 && lab.reservedMemory.number == 1.5e9)
        #expect(lab.availableMemory == (64 << 30) - 1_500_000_000)
        #expect(lab.network.bandwidth.number == 1.25e9 && abs(lab.network.latency.number - 20e-6) < 1e-15)
        #expect(lab.watts == 300 && lab.pricePerNodeHour == 0.5 && lab.launcher == .slurm)
        let plain = try parsed()
        #expect(plain.watts == nil && plain.pricePerNodeHour == nil && plain.launcher == .mpirun)
    }

    @Test(arguments: [
        ("1.25GB/s", 1.25e9), ("100mbit", 12.5e6), ("1 Gbit/s", 125e6), ("800kbit", 1e5),
    ])
    func rates(text: String, bytesPerSecond: Double) throws {
        #expect(
            try parsed(cluster.replacing("10gbit", with: text)).network.bandwidth.number == bytesPerSecond)
    }

    @Test(arguments: [("12h", 43_200.0), ("7d", 604_800), ("90min", 5400), ("0.5ms", 5e-4), ("3 s", 3)])
    func times(text: String, seconds: Double) {
        #expect(abs((TimeSpan(parsing: text)?.number ?? 0) / seconds - 1) < 1e-12)
    }

    @Test(arguments: [
        "", "s", "-3s", "3", "3 parsecs", "1e3s", "..s", "\(String(repeating: "9", count: 400))s",
    ])
    func whatIsNoTimeIsNone(text: String) {
        #expect(TimeSpan(parsing: text) == nil)
    }

    @Test func theExampleIsSound() throws {
        let path = "\(#filePath)".components(separatedBy: "/Tests/")[0] + "/configs/cluster-64.yaml"
        #expect(try ClusterConfig.load(path: path).nodes == 64)
    }

    @Test(arguments: [
        ("nodes: 4", "nodes: 0", "c.yaml:2: nodes is 0; it must be from 1 to 1048576"),
        ("nodes: 4", "nodes: 1.5", "nodes must be a whole number, found 1.5"),
        ("cores: 16", "cores: 100000", "from 1 to 4096"),
        ("64GiB", "64", "memory must be a size such as 256GiB or 64GB, found 64"),
        ("64GiB", "-64GiB", "memory must be a size"),
        ("64GiB", "1KiB", "memory is 1KiB; it must be from 64MiB to 1024TiB"),
        (
            "10gbit", "fast",
            "network.bandwidth must be a rate such as 10gbit, 100mbit or 1.25GB/s, found fast"
        ),
        ("10gbit", "10GiB", "must be a rate"),
        ("10gbit", "0gbit", "network.bandwidth is 0B/s; it must be from 100kbit"),
        ("20us", "20", "network.latency must be a time such as 20us"),
        ("20us", "2h", "network.latency is 2h; it must be from 10ns to 10s"),
        ("cores: 16", "core: 16", "c.yaml:3: unknown key core; did you mean cores?"),
        ("latency: 20us", "latncy: 20us", "unknown key network.latncy; did you mean network.latency?"),
        ("name: lab", "name: a b", "letters, digits"),
        ("nodes: 4\n", "", "c.yaml: missing nodes; give each a value"),
        ("network: {bandwidth: 10gbit, latency: 20us}", "", "missing network.bandwidth, network.latency"),
        ("name: lab", "name: lab\nwatts: 0", "watts is 0.0; it must be above 0"),
        ("name: lab", "name: lab\nprice_per_node_hour: -1", "price_per_node_hour is -1.0; it must be"),
        (
            "name: lab", "name: lab\nlauncher: sbatch",
            "launcher is sbatch, but this version supports only mpirun"
        ),
        (
            "name: lab", "name: lab\nreserved_memory: 64GiB",
            "reserved_memory 64GiB leaves nothing of memory 64GiB"
        ),
        ("name: lab", "- lab", "c.yaml:"),
    ])
    func whatNoClusterHasIsRefused(part: String, other: String, words: String) {
        let text = clusterRefusal(cluster.replacing(part, with: other))
        #expect(text.contains(words), "\(text)")
        #expect(text.hasPrefix("c.yaml"))
    }
}
