import Configs
import Testing

let minimal = """
    name: small
    model: {num_layers: 1, d_model: 6, num_heads: 2, d_ff: 8, context_length: 4, vocab_size: 300}
    data: {path: text.txt}
    train:
      steps: 10
      global_batch: 12
      optimizer: {learning_rate: 0.5}
    """

func parse(_ text: String = minimal, _ overrides: String...) throws -> RunConfig {
    try RunConfig.parse(text, source: "a.yaml", overrides: overrides)
}

/// The error of a configuration that must be refused.
func refusal(
    _ text: String = minimal, _ overrides: String..., status: Configs.ExitStatus = .badConfiguration
) -> String {
    let error = #expect(throws: LockstepError.self) {
        try RunConfig.parse(text, source: "a.yaml", overrides: overrides)
    }
    #expect(error?.status == status)
    return error?.description ?? ""
}
