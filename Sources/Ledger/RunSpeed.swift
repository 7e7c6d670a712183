import Configs
import Cost

/// How fast every rank was during a run, in the middle of its samples: `speed.json`.
public struct RunSpeed: Codable, Sendable, Equatable {
    public var schemaVersion = 7
    public var ranks: [ReferenceSpeed]

    public init(ranks: [ReferenceSpeed]) { self.ranks = ranks }

    private enum CodingKeys: String, CodingKey {
        case schemaVersion = "schema_version"
        case ranks
    }

    /// Reads a run's file. Throws `inputMissing`, or `badData` when it is damaged or holds no speeds.
    public static func read(from path: String) throws(LockstepError) -> RunSpeed {
        let speed = try JSONFile.read(RunSpeed.self, from: path)
        let rates: [(key: String, rate: Double)] = speed.ranks.flatMap {
            [
                ("flops_per_second", $0.flopsPerSecond),
                ("kernel_elements_per_second", $0.kernelElementsPerSecond),
                ("copy_bytes_per_second", $0.copyBytesPerSecond),
            ] + ($0.exchange?.rates ?? [])
                + ($0.handoverBytesPerSecond.map { [("handover_bytes_per_second", $0)] } ?? [])
        }
        for (key, rate) in rates where !(rate >= 1 && rate <= 1e18) {
            throw LockstepError(
                .badData,
                "\(path): '\(key)' is \(rate), which is no machine's; the file is damaged. Without it `lockstep verify` "
                    + "compares times as they are")
        }
        return speed
    }
}
