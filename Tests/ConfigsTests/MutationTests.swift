import Configs
import Testing

/// SplitMix64: the same mutations in every run.
private struct Generator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}

@Suite struct MutationTests {
    private static let fragments = [
        ":", "- ", "? ", "{", "}", "[", "]", ",", "&a ", "*a", "!!map ", "|\n", ">", "'", "\"", "#", "%",
        "\\", "\n", "  ",
        "\t", "\r", "\u{0}", "\u{85}", "\u{2028}", "\u{FEFF}", "\u{D7FF}", "e\u{301}", "null", "~", "<<: ",
        "---\n", "...\n",
        "9223372036854775807", "-1", "1e400", ".inf", "0x10", "\"\\ud800\"", "\"\\U0010FFFF\"", "!<x> ",
    ]

    private static func mutate(_ text: String, using generator: inout Generator) -> String {
        var scalars = Array(text.unicodeScalars)
        for _ in 0..<Int.random(in: 1...4, using: &generator) {
            let start = Int.random(in: 0...scalars.count, using: &generator)
            let end = min(scalars.count, start + Int.random(in: 0...12, using: &generator))
            let fragment = fragments.randomElement(using: &generator)!.unicodeScalars
            let earlier = Int.random(in: 0...start, using: &generator)
            switch Int.random(in: 0..<4, using: &generator) {
            case 0: scalars.removeSubrange(start..<end)
            case 1: scalars.insert(contentsOf: scalars[start..<end], at: earlier)
            case 2: scalars.replaceSubrange(start..<end, with: fragment)
            default: scalars.insert(contentsOf: fragment, at: start)
            }
        }
        return String(String.UnicodeScalarView(scalars))
    }

    @Test func mutatedConfigurationsLoadOrThrow() throws {
        let complete = try parse().yaml()
        var generator = Generator(state: 1)
        var accepted = 0
        for trial in 0..<6000 {
            let text = Self.mutate(trial.isMultiple(of: 2) ? minimal : complete, using: &generator)
            do {
                let config = try RunConfig.parse(text, source: "a.yaml")
                #expect(try parse(config.yaml()) == config)
                accepted += 1
            } catch {
                let isOurs = error is LockstepError
                #expect(isOurs, "\(error) for \(text)")
            }
        }
        #expect(accepted > 0)
    }

    @Test func mutatedOverridesLoadOrThrow() throws {
        let overrides = ["train.optimizer={name: sgd, learning_rate: 3}", "model.dropout=0.1", "name='a'"]
        var generator = Generator(state: 2)
        for trial in 0..<3000 {
            let override = Self.mutate(overrides[trial % overrides.count], using: &generator)
            do {
                _ = try parse(minimal, override)
            } catch {
                let isOurs = error is LockstepError
                #expect(isOurs, "\(error) for \(override)")
            }
        }
    }
}
