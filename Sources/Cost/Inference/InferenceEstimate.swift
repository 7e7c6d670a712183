import Configs
import Foundation

/// What generating will cost, from the configuration of a model alone.
public struct InferenceEstimate: Codable, Sendable, Equatable {
    /// In bytes.
    public struct Memory: Codable, Sendable, Equatable {
        public let parameters: Int
        /// Keys and values.
        public let cache: Int
        public let workspace: Int
        /// Parameters in bf16, which products read instead.
        public let rounded: Int
        /// Weights in 8 bits, with which tokens are proposed.
        public let drafts: Int
        public let arenas: Int
        /// Beside the arenas: binary, libraries, threads.
        @NullWhenUnknown public var runtime: Int?
        @NullWhenUnknown public var peak: Int?
    }

    /// In seconds, greedily.
    public struct Time: Codable, Sendable, Equatable {
        /// Until the first token of every sequence, with their sources where there are some.
        @NullWhenUnknown public var prompt: Double?
        /// From there of each pass over the model's own weights, and the proposals that it checks: a token of all sequences,
        /// or with drafts one to `drafts` + 1 tokens. The mean over the sequences' positions.
        @NullWhenUnknown public var step: Double?
        /// Of all sequences, prompts' time included; with drafts if every one is right.
        @NullWhenUnknown public var tokensPerSecond: Double?
        /// The same if no draft is right.
        @NullWhenUnknown public var tokensPerSecondAtLeast: Double?
        /// Relative.
        @NullWhenUnknown public var uncertainty: Double?

        enum CodingKeys: String, CodingKey {
            case prompt, step, uncertainty
            case tokensPerSecond = "tokens_per_second"
            case tokensPerSecondAtLeast = "tokens_per_second_at_least"
        }
    }

    public let schemaVersion: Int
    public let sequences: Int
    /// Tokens of the longest sequence, prompt included.
    public let length: Int
    /// Tokens of each prompt.
    public let promptTokens: [Int]
    /// Of each source, with its end; empty unless an encoder–decoder generates.
    public let sourceTokens: [Int]
    public let threads: Int
    public let bf16: Bool
    /// Tokens that are proposed at once; 0 is none.
    public let drafts: Int
    /// N, in elements.
    public let parameterCount: Int
    public let memory: Memory
    public let time: Time

    /// - Parameters:
    ///   - prompts: tokens of each sequence's prompt; the longest is below `shape.length`. A target's is what begins it.
    ///   - sources: tokens of each sequence's source, in an encoder–decoder.
    ///   - profile: what the machine can do; without it times and the runtime's memory are unknown.
    /// - Throws: `.badConfiguration` when a count does not fit 64 bits.
    public init(
        _ model: ModelConfig, _ shape: InferenceShape, prompts: [Int], sources: [Int] = [], profile: Profile?
    ) throws {
        let footprint = try InferenceFootprint(model, shape)
        let longest = prompts.max() ?? 0
        precondition(
            prompts.count == shape.sequences && longest < shape.length,
            "prompts of \(prompts) tokens for \(shape.sequences) sequences of \(shape.length)")
        precondition(
            sources.count == (model.family == .encoderDecoder ? shape.sequences : 0)
                && sources.allSatisfy { (1...model.sourceLength).contains($0) },
            "sources of \(sources) tokens for \(shape.sequences) sequences")
        schemaVersion = 2
        (sequences, length) = (shape.sequences, shape.length)
        (promptTokens, sourceTokens) = (prompts, sources)
        (threads, bf16, drafts) = (shape.threads, shape.rounds, shape.drafts)
        parameterCount = try ParameterCount(model).total
        let layout = profile?.inferenceLayout(threads: shape.threads)
        let inference = layout?.inference
        var memory = Memory(
            parameters: footprint.parameters, cache: footprint.cache, workspace: footprint.workspace,
            rounded: footprint.halves, drafts: footprint.drafts, arenas: footprint.arenas)
        memory.runtime = inference?.runtime
        memory.peak = inference.map { footprint.arenas + $0.runtime }
        self.memory = memory
        time = layout.map { Self.time(model, shape, prompts, sources, $0) } ?? Time()
    }

    private static func time(
        _ model: ModelConfig, _ shape: InferenceShape, _ prompts: [Int], _ sources: [Int],
        _ layout: Profile.Layout
    ) -> Time {
        guard let inference = layout.inference else { return Time() }
        let passes =
            InferencePass.sources(model, lengths: sources, format: shape.format)
            + InferencePass.prompts(model, lengths: prompts, sources: sources, format: shape.format)
        let prompt: Double = passes.reduce(0) { $0 + inference.seconds($1) }
        // Every sequence gets as many tokens; positions differ by the prompts' lengths, and seconds are linear in them.
        let behind = shape.length - (prompts.max() ?? 0)
        let mean = prompts.reduce(0, +) / prompts.count
        let steps = behind - 1
        let sourceTokens = sources.reduce(0, +)
        func pass(_ position: Int, tokens: Int = 1, _ format: WeightFormat) -> Double {
            inference.seconds(
                .step(
                    model, sequences: prompts.count, tokens: tokens, position: position,
                    sourceTokens: sourceTokens, format: format))
        }
        /// Proposing `drafts` tokens behind `position` others, if any, and one pass with the model's own weights.
        func step(_ position: Int, drafts: Int) -> Double {
            let proposals: Double = (0..<drafts).reduce(0) { $0 + pass(position + $1, .int8) }
            return proposals + pass(position, tokens: drafts + 1, shape.format)
        }
        func meanStep(drafts: Int) -> Double {
            (step(mean, drafts: drafts) + step(mean + max(0, steps - 1 - drafts), drafts: drafts)) / 2
        }
        func rate(_ secondsOfToken: Double) -> Double {
            Double(prompts.count) * Double(behind) / (prompt + Double(steps) * secondsOfToken)
        }
        var time = Time()
        time.prompt = prompt
        let whole = meanStep(drafts: shape.drafts)
        time.step = whole
        time.tokensPerSecond = rate(whole / Double(shape.drafts + 1))
        if shape.drafts > 0 {
            time.tokensPerSecondAtLeast = rate(
                meanStep(drafts: min(shape.drafts, InferenceShape.draftsBehindMiss)))
        }
        time.uncertainty = max(
            inference.steps.scatter, inference.prompts.scatter, layout.reference.productSpread,
            layout.reference.copySpread)
        return time
    }

    enum CodingKeys: String, CodingKey {
        case sequences, length, threads, bf16, drafts, memory, time
        case schemaVersion = "schema_version"
        case promptTokens = "prompt_tokens"
        case sourceTokens = "source_tokens"
        case parameterCount = "parameters"
    }

    /// The estimate as JSON.
    public func json() throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        return String(decoding: try encoder.encode(self), as: UTF8.self)
    }
}

extension Profile {
    /// Measured passes that are most like those of the longest prompt and of a token of what `estimate` is for: measured
    /// again, they say how far the machine has drifted.
    public func inferenceReferences(_ model: ModelConfig, _ estimate: InferenceEstimate) -> (
        prompt: InferenceModel.Sample, step: InferenceModel.Sample
    )? {
        let inference = inferenceLayout(threads: estimate.threads)?.inference
        let (sources, format) = (estimate.sourceTokens, WeightFormat(isRounded: estimate.bf16))
        let prompts =
            InferencePass.sources(model, lengths: sources, format: format)
            + InferencePass.prompts(
                model, lengths: estimate.promptTokens, sources: sources, format: format)
        let step = InferencePass.step(
            model, sequences: estimate.sequences, position: estimate.length,
            sourceTokens: sources.reduce(0, +), format: format)
        guard let first = prompts.first, let prompt = inference?.reference(first),
            let token = inference?.reference(step)
        else { return nil }
        return (prompt, token)
    }

    /// Of those in which generating was measured, the one whose threads are nearest to `threads`.
    func inferenceLayout(threads: Int) -> Layout? {
        func distance(_ layout: Layout, _ threads: Int) -> Double {
            abs(log2(Double(layout.threads) / Double(threads)))
        }
        return layouts.filter { $0.inference != nil }.min {
            distance($0, threads) < distance($1, threads)
        }
    }
}
