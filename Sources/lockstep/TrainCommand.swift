import ArgumentParser
import Configs
import MessagePassing
import Training

struct TrainCommand: RankCommand {
    static let configuration = CommandConfiguration(
        commandName: "train",
        abstract: "Train a model; every process that mpirun starts is a rank.",
        discussion: """
            Example:
              mpirun -n 2 lockstep train configs/quickstart.yaml
              mpirun -n 4 lockstep train configs/w1.yaml --out runs/mine train.steps=500
              mpirun -n 2 lockstep train configs/w1.yaml --out runs/mine train.steps=500 --resume
            """)

    @Argument(help: "Configuration file.") var config: String
    @Option(
        help: ArgumentHelp("Run directory; a new one, or with --resume one to go on in.", valueName: "dir"))
    var out: String?
    @Flag(
        help: "Go on from the newest checkpoint of the run directory; start a run that has none yet.")
    var resume = false
    @Argument(help: "Settings that replace those of the file, as key.path=value.") var overrides: [String] =
        []

    @OptionGroup var profileOptions: ProfileOptions

    func run() throws {
        let outcome = try withWorld { world in
            let config = try world.collectively {
                let config = try RunConfig.load(path: self.config, overrides: overrides)
                try config.validate(ranks: world.size)
                return config
            }
            let profile = try world.collectively { try profileOptions.load(speaks: world.rank == 0) }
            return try train(
                config, directory: out ?? "runs/\(config.name)", resumes: resume, profile: profile,
                heedsSignals: true, on: world)
        }
        if outcome == .preempted { throw ExitCode(Configs.ExitStatus.preempted.rawValue) }
    }
}
