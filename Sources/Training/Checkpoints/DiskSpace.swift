import Configs
import Cost
import Foundation

/// Room on a disk.
enum DiskSpace {
    /// Throws `.inputOutput` when the disk of `path` has no room for `bytes` and a margin for the files' blocks and folders.
    static func require(_ bytes: Int, at path: String) throws {
        var information = statvfs()
        guard statvfs(path, &information) == 0 else { return }
        let available = Int(clamping: UInt64(information.f_bavail) * UInt64(information.f_frsize))
        let needed = bytes + bytes / 64 + (1 << 18)
        guard needed > available else { return }
        throw LockstepError(
            .inputOutput,
            "\(path): a checkpoint needs \(Quantity.bytes(needed)), but the disk has \(Quantity.bytes(available)) "
                + "available; the checkpoints there are intact. Free some space and go on with --resume")
    }
}
