import ArgumentParser
import Configs
import Corpus
import Cost
import Ledger
import MessagePassing
import Training
import Transformer

struct EstimateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "estimate",
        abstract: "Say what a run will cost before anything is allocated.",
        discussion: """
            Parameters, FLOPs, memory of a rank and traffic follow from the configuration alone and are exact.

            Example:
              lockstep estimate configs/w1.yaml --ranks 1,2,4 train.global_batch=64
              lockstep estimate configs/gpt2-124m.yaml --inference --sequences 16 --length 256
            """)

    @Argument(help: ArgumentHelp("The configuration file.", valueName: "CONFIG"))
    var config: String

    @Argument(help: ArgumentHelp("Keys to change, such as model.attention=stored.", valueName: "key=value"))
    var overrides: [String] = []

    @Option(help: ArgumentHelp("Numbers of ranks to estimate for.", valueName: "N,N,…"))
    var ranks = WorldSizes(counts: [1])

    @Option(help: "Hosts that the ranks are spread over.") var hosts = 1

    @Flag(help: "Say what generating with the model will cost, instead of training it.")
    var inference = false

    @Option(parsing: .unconditional, help: "With --inference, number of texts that are generated together.")
    var sequences: Int?

    @Option(
        parsing: .unconditional,
        help:
            "With --inference, tokens of a text, prompt included, or of a target; by default the model's context."
    )
    var length: Int?

    @Option(
        parsing: .unconditional,
        help:
            "With --inference, tokens of a prompt, or of a source; by default half of what a text, or a source, may have."
    )
    var promptTokens: Int?

    @Option(parsing: .unconditional, help: "With --inference, threads; by default parallel.threads_per_rank.")
    var threads: Int?

    @Flag(name: .customLong("bf16"), help: "With --inference, weights are read rounded to bf16.")
    var rounds = false
    @OptionGroup var draft: DraftOption
    @OptionGroup var profileOptions: ProfileOptions

    @Flag(help: "Print JSON and nothing else.")
    var json = false

    func validate() throws {
        guard inference else {
            let given = [
                (sequences != nil, "--sequences"), (length != nil, "--length"),
                (promptTokens != nil, "--prompt-tokens"), (threads != nil, "--threads"), (rounds, "--bf16"),
                (draft.tokens != nil, "--draft"),
            ]
            if let (_, name) = given.first(where: \.0) {
                throw ValidationError("\(name) goes with --inference")
            }
            return
        }
        guard ranks.counts == [1], hosts == 1 else {
            throw ValidationError("--inference is for one process; it goes without --ranks and --hosts")
        }
        try draft.validate(isOneText: (sequences ?? 1) == 1)
        let limits = [
            ("--sequences", sequences, 1...4096), ("--length", length, 2...1 << 30),
            ("--prompt-tokens", promptTokens, 1...1 << 30), ("--threads", threads, 1...4096),
        ]
        for case (let name, let value?, let limit) in limits where !limit.contains(value) {
            throw ValidationError(
                "\(name) must be from \(limit.lowerBound) to \(limit.upperBound), not \(value)")
        }
    }

    func run() throws {
        guard !inference else { return try estimateInference() }
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

    private func estimateInference() throws {
        let config = try RunConfig.load(path: self.config, overrides: overrides)
        if let obstacle = CachedDecoder.obstacle(config.model) {
            throw LockstepError(.usage, "\(self.config) \(obstacle)")
        }
        let context = config.model.contextLength
        let length = length ?? context
        guard length <= context else {
            throw LockstepError(
                .usage,
                "--length is \(length) tokens, but the model's context has \(context); lower it, or raise "
                    + "model.context_length")
        }
        let isPair = config.model.family == .encoderDecoder
        guard length > 1 else {
            throw LockstepError(
                .usage, "--length: a context of 1 token has no room behind it; raise model.context_length")
        }
        let (most, limit) =
            isPair
            ? (config.model.sourceLength, "at most model.source_length, \(config.model.sourceLength)")
            : (length - 1, "below --length, \(length), which includes them")
        let given = promptTokens ?? max(1, (isPair ? most : length) / 2)
        guard given <= most else {
            throw LockstepError(.usage, "--prompt-tokens must be \(limit), not \(given)")
        }
        let shape = InferenceShape(
            sequences: sequences ?? 1, length: length, threads: threads ?? config.parallel.threadsPerRank,
            rounds: rounds,
            drafts: draft.tokens ?? InferenceShape.usualDrafts(config.model, sequences: sequences ?? 1))
        let each = { (tokens: Int) in Array(repeating: tokens, count: shape.sequences) }
        let estimate = try InferenceEstimate(
            config.model, shape, prompts: each(isPair ? 1 : given), sources: isPair ? each(given) : [],
            profile: profileOptions.load(speaks: true))
        try StandardOutput.write(json ? estimate.json() + "\n" : estimate.table(config))
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
