import Configs
import Corpus
import Cost
import Foundation
import Kernels
import Ledger
import Transformer

/// How a text is continued.
public struct GenerationOptions: Sendable {
    public var prompts: [String]
    public var checkpoint = CheckpointChoice.newest
    /// Tokens to generate behind each prompt.
    public var tokens: Int
    public var sampling: Sampling
    /// Hypotheses of a beam search; nil samples.
    public var beams: Int?
    /// A text ends before the first of these.
    public var stops: [String] = []
    /// Whether of a prompt that is longer than the context its end is taken; otherwise it is refused.
    public var truncates = false
    /// nil is as in the run's configuration.
    public var threads: Int?
    /// Whether products read weights that are rounded to bf16, half as many bytes.
    public var rounds = false
    /// Tokens to propose at once before they are checked; nil is `InferenceShape.usualDrafts`.
    public var drafts: Int?
    /// Whether everything is generated twice, the first time only to bring what it needs into the caches.
    public var warmsUp = false

    public init(prompts: [String], tokens: Int, sampling: Sampling) {
        self.prompts = prompts
        self.tokens = tokens
        self.sampling = sampling
    }

    /// Sequences that go through the model together.
    var sequences: Int { beams ?? prompts.count }
}

/// What was generated with, and what it came to.
public struct GenerationRecord: Sendable {
    public let config: RunConfig
    public let shape: InferenceShape
    /// Tokens of each prompt, and of each source where an encoder–decoder generated.
    public let promptTokens: [Int]
    public let sourceTokens: [Int]
    public let measured: GenerationMeasurements
}

/// Continues texts with a checkpoint of the run in `run`, or, with an encoder–decoder, makes targets of sources.
///
/// - Parameter emit: gets the number of a prompt and its text, piece by piece as it comes and of a decoder the prompt first,
///   and returns whether to go on.
@discardableResult
public func generateText(
    run: String, _ options: GenerationOptions, emit: (Int, [UInt8]) throws -> Bool
) throws -> GenerationRecord {
    let source = try RunDirectory(existing: run)
    let config = try RunConfig.load(path: source.config)
    if let obstacle = CachedDecoder.obstacle(config.model) {
        throw LockstepError(.usage, "\(run) \(obstacle)")
    }
    let tokenizer = try PreparedCorpus.tokenizer(config.data, directory: source.data)
    let context = config.model.contextLength
    let texts = try options.prompts.map { try tokens(of: $0, config.model, tokenizer, options) }
    var options = options
    let isPair = config.model.family == .encoderDecoder
    // The token that ends sources and targets begins a target, too.
    let end = isPair ? tokenizer.token(ofByte: 0x0A) : nil
    let prompts = end.map { end in texts.map { _ in [end] } } ?? texts
    if isPair {
        options.stops.append("\n")
        // The last token of a full context may be chosen, but not looked back at.
        let most = options.beams == nil && !options.warmsUp ? context : context - 1
        options.tokens = min(options.tokens, max(1, most))
    }
    let longest = prompts.map(\.count).max() ?? 1
    if options.beams != nil, longest + options.tokens > context {
        throw LockstepError(
            .usage,
            "--beams searches within the model's context of \(context) tokens, but prompt and --tokens are "
                + "\(longest + options.tokens); lower --tokens")
    }
    if options.warmsUp, longest + options.tokens > context {
        throw LockstepError(
            .usage,
            "--verify: prompt and --tokens are \(longest + options.tokens) tokens, but the model's context has "
                + "\(context), and what goes on beyond it is not estimated; lower --tokens")
    }
    let shape = InferenceShape(
        sequences: options.sequences, length: min(context, longest + options.tokens),
        threads: options.threads ?? config.parallel.threadsPerRank, rounds: options.rounds,
        drafts: options.drafts
            ?? (options.beams == nil
                ? InferenceShape.usualDrafts(config.model, sequences: options.sequences) : 0))
    let model = try LoadedModel(source, options.checkpoint, for: .generation(shape))
    let decoder = try CachedDecoder(
        model.network, sequences: shape.sequences, capacity: shape.length, rounds: shape.rounds,
        drafts: shape.drafts)
    var measured = GenerationMeasurements()
    var goesOn = true
    let sources: [(source: [Int32], sequence: Int)] =
        isPair ? (0..<shape.sequences).map { (texts[options.beams == nil ? $0 : 0], $0) } : []
    if !isPair {
        for (number, prompt) in options.prompts.enumerated() {
            goesOn = try goesOn && emit(number, Array(prompt.utf8))
        }
    }
    if let beams = options.beams, goesOn {
        if isPair { decoder.look(at: sources) }
        try search(decoder, prompts[0], beams, end: end, options, tokenizer, emit)
    } else if goesOn {
        if options.warmsUp { _ = try sample(decoder, sources, prompts, options, tokenizer) { _, _ in true } }
        measured = try sample(decoder, sources, prompts, options, tokenizer, emit)
    }
    let arenas = decoder.arenaBytes
    measured.parameterBytes = model.network.arenaBytes.parameters
    (measured.cacheBytes, measured.workspaceBytes) = (arenas.cache, arenas.workspace)
    (measured.roundedBytes, measured.draftBytes) = (arenas.halves, arenas.drafts)
    measured.peakBytes = MemoryMeter().read()?.peak
    return GenerationRecord(
        config: config, shape: shape, promptTokens: prompts.map(\.count),
        sourceTokens: sources.map(\.source.count), measured: measured)
}

/// A prompt as the model takes it: of a decoder the beginning of a text, of an encoder–decoder a source with its end.
private func tokens(
    of prompt: String, _ model: ModelConfig, _ tokenizer: any Tokenizer, _ options: GenerationOptions
) throws -> [Int32] {
    let tokens = tokenizer.encode(prompt)
    guard model.family == .encoderDecoder else {
        let context = model.contextLength
        guard tokens.count <= context || options.truncates else {
            throw LockstepError(
                .usage,
                "--prompt has \(tokens.count) tokens, but the model's context has \(context); shorten it, or "
                    + "--truncate takes its end")
        }
        return Array(tokens.suffix(context))
    }
    let room = model.sourceLength - 1
    guard tokens.count <= room || options.truncates else {
        throw LockstepError(
            .usage,
            "--prompt has \(tokens.count) tokens, but a source of the model at most \(room); shorten it, or --truncate "
                + "takes its beginning")
    }
    return tokens.prefix(room) + [tokenizer.token(ofByte: 0x0A)]
}

private func sample(
    _ decoder: CachedDecoder, _ sources: [(source: [Int32], sequence: Int)], _ prompts: [[Int32]],
    _ options: GenerationOptions, _ tokenizer: any Tokenizer, _ emit: (Int, [UInt8]) throws -> Bool
) throws -> GenerationMeasurements {
    var measured = GenerationMeasurements()
    let clock = ContinuousClock()
    var generator = Generator(
        decoder: decoder, prompts: prompts, sampling: options.sampling)
    var streams = prompts.map { _ in TextStream(stops: options.stops) }
    var isComplete = prompts.map { _ in false }
    for index in 0..<options.tokens where !generator.isDone {
        let start = clock.now
        if index == 0 && !sources.isEmpty { decoder.look(at: sources) }
        let chosen = generator.next(of: options.tokens - index)
        let seconds = (clock.now - start) / .seconds(1)
        if index == 0 {
            measured.promptSeconds = seconds
        } else if generator.proposed == decoder.drafts {
            measured.stepSeconds += seconds
            measured.steps += 1
        }
        for (sequence, token) in chosen where !isComplete[sequence] {
            let (text, isStopped) = streams[sequence].add(tokenizer.decode([token]))
            guard try text.isEmpty || emit(sequence, text) else { return measured }
            isComplete[sequence] = isStopped
            // What is timed is of a known length: that of a target goes on behind its end.
            if isStopped && !options.warmsUp { generator.finish(sequence) }
        }
    }
    (measured.draftChecks, measured.draftTokens) = (generator.draftChecks, generator.draftTokens)
    for sequence in streams.indices where !isComplete[sequence] {
        let rest = streams[sequence].finish()
        guard try rest.isEmpty || emit(sequence, rest) else { return measured }
    }
    return measured
}

private func search(
    _ decoder: CachedDecoder, _ prompt: [Int32], _ beams: Int, end: Int32?, _ options: GenerationOptions,
    _ tokenizer: any Tokenizer, _ emit: (Int, [UInt8]) throws -> Bool
) throws {
    let best = BeamSearch(
        decoder: decoder, beams: beams
    ).search(prompt, count: options.tokens, end: end)[0]
    var stream = TextStream(stops: options.stops)
    let (text, isStopped) = stream.add(tokenizer.decode(best.tokens))
    guard try emit(0, text), !isStopped else { return }
    _ = try emit(0, stream.finish())
}
