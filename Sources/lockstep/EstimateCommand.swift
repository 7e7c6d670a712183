import ArgumentParser
import Configs
import Corpus
import Cost
import Ledger
import MessagePassing
import Training

struct EstimateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "estimate",
        abstract: "Say what a run will cost before anything is allocated.",
        discussion: """
            Parameters, FLOPs, memory of a rank and traffic follow from the configuration alone and are exact.

            Example:
              lockstep estimate configs/w1.yaml --ranks 1,2,4 train.global_batch=64
            """)

    @Argument(help: ArgumentHelp("The configuration file.", valueName: "CONFIG"))
    var config: String

    @Argument(help: ArgumentHelp("Keys to change, such as model.attention=stored.", valueName: "key=value"))
    var overrides: [String] = []

    @Option(help: ArgumentHelp("Numbers of ranks to estimate for.", valueName: "N,N,…"))
    var ranks = WorldSizes(counts: [1])

    @Option(help: "Hosts that the ranks are spread over.") var hosts = 1

    @OptionGroup var profileOptions: ProfileOptions

    @Flag(help: "Print JSON and nothing else.")
    var json = false

    func run() throws {
        let precision = try ProductPrecision(RunConfig.load(path: config, overrides: overrides))
        if let warning = precision.warning { reportToStandardError("lockstep: warning: \(warning)") }
        let config = precision.config
        let profile = try profileOptions.load(speaks: true)
        let tokens = PreparedCorpus.tokenCount(
            config.data, contextLength: config.model.contextLength)
        let estimates = try ranks.counts.map {
            try Estimate(
                config: config, ranks: $0, hosts: min(max(1, hosts), $0), profile: profile,
                corpusTokens: tokens)
        }
        if json {
            try StandardOutput.write(Estimate.json(estimates) + "\n")
        } else {
            try StandardOutput.write(Estimate.table(config, estimates))
        }
    }
}

/// A list of numbers of ranks: `1,2,4`.
struct WorldSizes: ExpressibleByArgument {
    let counts: [Int]

    init(counts: [Int]) {
        self.counts = counts
    }

    init?(argument: String) {
        let parts = argument.split(separator: ",", omittingEmptySubsequences: false)
        let counts = parts.compactMap { Int($0) }
        guard counts.count == parts.count, counts.allSatisfy({ $0 >= 1 }) else { return nil }
        self.counts = counts
    }

    var defaultValueDescription: String {
        counts.map(String.init).joined(separator: ",")
    }
}
