import ArgumentParser
import Configs
import Foundation

@main struct Lockstep: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "lockstep",
        abstract: "Train Transformers on the CPUs you have, and know what it costs.",
        subcommands: [EstimateCommand.self])

    static func main() {
        do {
            var command = try parseAsRoot()
            try command.run()
        } catch let error as LockstepError {
            FileHandle.standardError.write(Data("lockstep: error: \(error)\n".utf8))
            Foundation.exit(error.status.rawValue)
        } catch {
            exit(withError: error)
        }
    }
}
