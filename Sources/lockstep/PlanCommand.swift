import ArgumentParser
import Configs
import Corpus
import Cost

struct PlanCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plan",
        abstract: "Say how to train on a cluster: which layouts fit, how long, at what cost.",
        discussion: """
            Works on paper, from the profile of one node and a file that describes the cluster. Of ranks a node, \
            threads a rank, nodes, micro-batch, attention and sharding it lists what fits, recommends one and prints \
            the line that starts it. Ends with code 1 when nothing fits, or nothing makes the deadline.

            Example:
              lockstep plan configs/gpt2-124m.yaml --cluster configs/cluster-64.yaml --tokens 10e9 train.global_batch=512
              lockstep plan configs/gpt2-124m.yaml --cluster configs/cluster-64.yaml --largest --tokens 10e9 \
            --deadline 7d train.global_batch=512
            """)

    @Argument(help: ArgumentHelp("The configuration file.", valueName: "CONFIG"))
    var config: String

    @Argument(help: ArgumentHelp("Keys to change, such as train.global_batch=512.", valueName: "key=value"))
    var overrides: [String] = []

    @Option(help: ArgumentHelp("The cluster file, such as configs/cluster-64.yaml.", valueName: "file"))
    var cluster: String

    @Option(
        help: ArgumentHelp("Tokens to train on, such as 10e9. By default train.steps decide.", valueName: "N")
    )
    var tokens: TokenCount?

    @Option(
        help: ArgumentHelp(
            "Take the cheapest layout that trains within this time, such as 12h or 7d.", valueName: "time"))
    var deadline: Deadline?

    @Flag(help: "Seek the largest model like CONFIG's that trains within the deadline.")
    var largest = false

    @OptionGroup var profileOptions: ProfileOptions

    @Flag(help: "Show every layout that fits.")
    var all = false

    @Flag(help: "Print JSON and nothing else.")
    var json = false

    func validate() throws {
        if largest && deadline == nil {
            throw ValidationError(
                "--largest needs --deadline, such as --deadline 7d: any model trains some day")
        }
    }

    func run() throws {
        let config = try RunConfig.load(path: config, overrides: overrides)
        let cluster = try ClusterConfig.load(path: cluster)
        guard let profile = try profileOptions.load(speaks: false) else {
            throw LockstepError(
                .inputMissing,
                "a plan needs the profile of a node: on one, run `mpirun -n CORES lockstep calibrate --out node.json`, "
                    + "then give it here with --profile node.json")
        }
        let goal = PlanGoal(config, tokens: tokens?.count, deadline: deadline?.seconds)
        let corpus = PreparedCorpus.tokenCount(
            config.data, contextLength: config.model.contextLength)
        guard largest else {
            let plan = try Plan(config, on: cluster, goal, profile: profile, corpusTokens: corpus)
            return try answer(plan, overrides: overrides)
        }
        guard
            let plan = try Plan.largest(
                like: config, on: cluster, goal, profile: profile, corpusTokens: corpus)
        else {
            return try answer(
                Plan(config, on: cluster, goal, profile: profile, corpusTokens: corpus), overrides: overrides)
        }
        try answer(plan, overrides: overrides + config.modelChanges(to: plan.config))
    }

    private func answer(_ plan: Plan, overrides: [String]) throws {
        if json {
            try StandardOutput.write(plan.json(path: config, overrides: overrides, largest: largest))
        } else {
            let model = plan.config.model
            let found =
                """
                The largest model like \(plan.config.name) that trains in time: \
                \(Quantity.grouped(plan.parameters)) parameters, \(model.numLayers) layers, d_model \
                \(model.dModel), \(model.numHeads) heads, d_ff \(model.dFF)


                """
            let table = PlanTable(plan).text(all: all, path: config, overrides: overrides)
            try StandardOutput.write((largest && plan.recommended != nil ? found : "") + table)
        }
        if plan.recommended == nil { throw ExitCode(ExitStatus.verificationFailed.rawValue) }
    }
}

/// A number of tokens: `10e9`, `300000`.
struct TokenCount: ExpressibleByArgument {
    let count: Double

    init?(argument: String) {
        guard argument.allSatisfy({ "0123456789.eE+".contains($0) }), let count = Double(argument),
            (1...1e18).contains(count)
        else { return nil }
        self.count = count
    }
}

/// A time from now: `90min`, `12h`, `7d`.
struct Deadline: ExpressibleByArgument {
    let seconds: Double

    init?(argument: String) {
        guard let span = TimeSpan(parsing: argument), (1e-6...1e11).contains(span.number) else { return nil }
        seconds = span.number
    }
}
