import Configs

extension InferenceEstimate {
    /// A table for people.
    public func table(_ config: RunConfig) -> String {
        [
            Estimate.modelDescription(of: config) + "\n" + description,
            layout(memoryRows, columns: 1), layout(timeRows, columns: 1),
        ].joined(separator: "\n\n") + "\n"
    }

    private var description: String {
        let isPair = !sourceTokens.isEmpty
        let lengths = isPair ? sourceTokens : promptTokens
        let (shortest, longest) = (lengths.min() ?? 0, lengths.max() ?? 0)
        let given =
            shortest == longest ? counted(longest, "token") : "\(shortest) to \(counted(longest, "token"))"
        return
            "Generating: \(counted(sequences, isPair ? "target" : "sequence")) of \(counted(length, "token")), "
            + "\(isPair ? "sources" : "prompts") of \(given), \(counted(threads, "thread")), weights read in \(bf16 ? "bf16" : "fp32")"
            + (drafts > 0 ? ", \(counted(drafts, "token")) proposed at once" : "")
    }

    private var memoryRows: [Row] {
        func row(_ label: String, _ bytes: Int?) -> Row {
            Row(
                label,
                [
                    bytes.map { "\(Quantity.grouped($0)) B  \(padded(Quantity.bytes($0), to: 8))" }
                        ?? "not calibrated"
                ])
        }
        return [
            Row("memory", []), row("  parameters", memory.parameters),
            row("  keys and values", memory.cache), row("  workspace", memory.workspace),
            row("  parameters in bf16", memory.rounded), row("  weights in 8 bits", memory.drafts),
            row("  arenas", memory.arenas),
            row("  runtime", memory.runtime), row("  peak", memory.peak),
        ]
    }

    private var timeRows: [Row] {
        func row(_ label: String, _ text: String?) -> Row { Row(label, [text ?? "not calibrated"]) }
        return [
            row(
                "time of the \(sourceTokens.isEmpty ? "prompts" : "sources")",
                time.prompt.map(Quantity.duration)),
            row(
                drafts > 0
                    ? "time of \(counted(drafts, "draft")) and their check"
                    : "time of a token of all sequences",
                time.step.map(Quantity.duration)),
            row(
                "tokens a second, \(sourceTokens.isEmpty ? "prompts" : "sources") included",
                time.tokensPerSecond.map { most in
                    let least = time.tokensPerSecondAtLeast.map { "\(Quantity.amount($0)) to " } ?? ""
                    return least + Quantity.amount(most) + (drafts > 0 ? ", as the text is guessed" : "")
                }),
            row("uncertainty", time.uncertainty.map { "±\(Quantity.percent($0))" }),
        ]
    }
}
