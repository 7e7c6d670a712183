import Foundation

/// A folder with a small corpus, in which runs are trained by the real program; removed at the end.
public final class Experiment {
    public let folder: String
    private var corpus: String { "\(folder)/corpus.txt" }

    public init(characters: Int = 12_000) throws {
        folder = NSTemporaryDirectory() + "lockstep-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try Self.text(characters: characters).write(toFile: corpus, atomically: true, encoding: .utf8)
    }

    deinit { try? FileManager.default.removeItem(atPath: folder) }

    /// Puts a file into the folder and returns its path.
    @discardableResult
    public func write(_ bytes: some Sequence<UInt8>, to name: String) throws -> String {
        try Data(bytes).write(to: URL(filePath: "\(folder)/\(name)"))
        return "\(folder)/\(name)"
    }

    /// Trains a small model of odd shape on `ranks` ranks, with `settings` on top.
    public func train(_ name: String, ranks: Int, _ settings: String...) throws -> CommandResult {
        try train(name, ranks: ranks, settings)
    }

    public func train(_ name: String, ranks: Int, _ settings: [String]) throws -> CommandResult {
        try mpirun(
            ranks: ranks, program: "lockstep",
            arguments: try arguments(name, settings), timeout: 120)
    }

    /// Arguments that train such a model with `settings` on top.
    public func arguments(_ name: String, _ settings: [String]) throws -> [String] {
        ["train", try writeConfig(name), "--out", run(name).path] + settings
    }

    public func run(_ name: String) -> (path: String, exists: Bool) {
        let path = "\(folder)/runs/\(name)"
        return (path, FileManager.default.fileExists(atPath: path))
    }

    private func writeConfig(_ name: String) throws -> String {
        let path = "\(folder)/\(name).yaml"
        try """
        name: \(name)
        model: {num_layers: 2, d_model: 36, num_heads: 3, d_ff: 52, context_length: 21, vocab_size: 257}
        data: {path: \(corpus), validation_fraction: 0.1}
        train:
          steps: 6
          global_batch: 12
          micro_batch: 1
          optimizer: {name: adamw, learning_rate: 3e-3, weight_decay: 0.1}
          schedule: {name: cosine, warmup_steps: 2}
          evaluate_every: 0
          checkpoint_every: 0
        """.write(toFile: path, atomically: true, encoding: .utf8)
        return path
    }

    /// Words in an order that a small generator chooses, always the same.
    private static func text(characters: Int) -> String {
        let words = "in the beginning was a word and light upon water; earth, void, without form.".split(
            separator: " ")
        var state: UInt64 = 42
        var text = ""
        while text.utf8.count < characters {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            text += words[Int(state >> 33) % words.count] + " "
        }
        return text
    }
}
