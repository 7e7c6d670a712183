/// A workload on which speed is compared: a rank's micro-batch of a model.
struct BenchmarkModel {
    let name: String
    let width: Int
    let hidden: Int
    let heads: Int
    let vocabulary: Int
    let context: Int
    let sequences: Int

    var tokens: Int { sequences * context }

    static let all = [
        BenchmarkModel(
            name: "w1", width: 384, hidden: 1536, heads: 6, vocabulary: 256, context: 256, sequences: 16),
        BenchmarkModel(
            name: "gpt2-124m", width: 768, hidden: 3072, heads: 12, vocabulary: 50_257, context: 256,
            sequences: 4),
    ]

    /// Names of all of them, for messages.
    static let names = all.map(\.name).joined(separator: ", ")

    static func named(_ name: String) -> BenchmarkModel? { all.first { $0.name == name } }
}
