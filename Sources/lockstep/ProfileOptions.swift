import ArgumentParser
import Calibration
import Configs
import Cost
import Foundation
import Ledger
import MessagePassing

/// Which profile an estimate is made with.
struct ProfileOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Profile of a machine. By default that of `lockstep calibrate` in your data folder.",
            valueName: "file"))
    var profile: String?

    @Flag(name: .customLong("no-profile"), help: "Use no profile: times and peak memory stay unknown.")
    var usesNone = false

    /// The profile, if there is one. Says on standard error, when it `speaks`, where it does not fit this machine.
    func load(speaks: Bool) throws -> Profile? {
        guard !usesNone else { return nil }
        guard let profile = try profile.map({ try ProfileFile.read($0) }) ?? ProfileFile.readDefault() else {
            if speaks {
                let isOlder = FileManager.default.fileExists(atPath: ProfileFile.defaultPath)
                reportToStandardError(
                    "lockstep: this machine is not calibrated\(isOlder ? " for this version" : ""), so that times "
                        + "and peak memory are unknown; `mpirun -n N lockstep calibrate` takes a minute")
            }
            return nil
        }
        let differences = profile.machine.differences(from: .here())
        if speaks, !differences.isEmpty {
            reportToStandardError(
                "lockstep: the profile was made elsewhere, on \(profile.machine.host) (\(differences.joined(separator: "; "))): "
                    + "its times and runtime memory may not hold here")
        }
        return profile
    }
}
