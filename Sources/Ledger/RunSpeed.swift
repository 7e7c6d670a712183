import Configs
import Cost

/// How fast the machine was before the first step of a run and after its last: `speed.json`.
public struct RunSpeed: Codable, Sendable, Equatable {
    public var schemaVersion = 1
    public var start: ReferenceSpeed
    /// nil until the last step is done.
    public var end: ReferenceSpeed?

    /// Of the whole run.
    public var speed: ReferenceSpeed { end.map(start.faster) ?? start }

    public init(start: ReferenceSpeed, end: ReferenceSpeed? = nil) {
        self.start = start
        self.end = end
    }

    private enum CodingKeys: String, CodingKey {
        case schemaVersion = "schema_version"
        case start, end
    }

    /// Reads a run's file. Throws `inputMissing`, or `badData` when it is damaged or holds no speeds.
    public static func read(from path: String) throws(LockstepError) -> RunSpeed {
        let speed = try JSONFile.read(RunSpeed.self, from: path)
        let rates = [speed.start, speed.end ?? speed.start].flatMap {
            [("flops_per_second", $0.flopsPerSecond), ("copy_bytes_per_second", $0.copyBytesPerSecond)]
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
