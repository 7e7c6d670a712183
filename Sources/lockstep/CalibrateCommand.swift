import ArgumentParser
import Calibration
import Configs
import Cost
import Foundation
import Ledger
import MessagePassing

struct CalibrateCommand: RankCommand {
    static let configuration = CommandConfiguration(
        commandName: "calibrate",
        abstract: "Measure what estimates need to know of this machine, in about a minute.",
        discussion: """
            All ranks work at once, because they share caches, memory and clocks. On one host, one rank alone and one \
            rank with a thread for every core are measured, too. Layouts that the profile has already are kept.

            Example:
              mpirun -n 2 lockstep calibrate
              mpirun -n 4 --hostfile hosts lockstep calibrate --threads 8 --out cluster.json
            """)

    @Option(help: ArgumentHelp("Profile to write. By default in your data folder.", valueName: "file"))
    var out: String?

    @Option(help: "Threads of a rank.") var threads = 1

    func run() throws {
        try withWorld { world in
            let path = out ?? ProfileFile.defaultPath
            let old = try world.collectively { () -> Profile? in
                guard (1...4096).contains(threads) else {
                    throw LockstepError(.usage, "--threads \(threads): expected 1 to 4096")
                }
                guard world.rank == 0, FileManager.default.fileExists(atPath: path) else { return nil }
                do {
                    return try ProfileFile.read(path)
                } catch {
                    reportToStandardError("lockstep: warning: \(error); it will be replaced")
                    return nil
                }
            }
            var meter = CalibrationProgress()
            let profile = try calibrate(threads: threads, on: world) { what, share in
                meter.show(what, share)
            }
            try world.collectively {
                guard var profile else { return }
                meter.end()
                profile.keepLayouts(of: old)
                try ProfileFile.write(profile, to: path)
                try StandardOutput.write(ProfileTable(profile).text + "\nwritten to \(path)\n")
            }
        }
    }
}
