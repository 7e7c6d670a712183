import ArgumentParser
import Transformer

/// How many tokens are proposed at once.
struct DraftOption: ParsableArguments {
    @Option(
        name: .customLong("draft"), parsing: .unconditional,
        help: ArgumentHelp(
            """
            Propose this many tokens of a single text at a time, with weights in 8 bits beside the others, and check all in \
            one pass: the same text, sooner. By default 5 with a model that caches do not hold, else 0.
            """, valueName: "tokens"))
    var tokens: Int?

    /// - Parameter isOneText: whether tokens of one sequence are generated, and chosen one by one.
    func validate(isOneText: Bool) throws {
        guard let tokens else { return }
        guard (0...CachedDecoder.mostDrafts).contains(tokens) else {
            throw ValidationError("--draft must be from 0 to \(CachedDecoder.mostDrafts), not \(tokens)")
        }
        guard tokens == 0 || isOneText else {
            throw ValidationError(
                "--draft proposes tokens of one text; it goes without --beams, a second --prompt and more --sequences than 1"
            )
        }
    }
}
