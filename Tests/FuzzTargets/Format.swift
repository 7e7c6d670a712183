import Foundation

/// What the program reads that others may have written or damaged.
public enum Format: String, CaseIterable, Sendable {
    case config, override, cluster, pretrained
    case corpus, shard, tokenizer, documents, pairs
    case manifest, state, model, optimizer
    case profile
    case estimate, ledger, evaluations, checkpoints, resumes, speed, memory, status, heartbeat

    /// Of a file of the format, and of the seed that is sound.
    var fileName: String {
        switch self {
        case .config: "config.yaml"
        case .pretrained: "config.json"
        case .override: "override"
        case .cluster: "cluster.yaml"
        case .corpus: "corpus.txt"
        case .shard: "tokens.bin"
        case .tokenizer, .manifest, .state, .profile, .estimate, .speed, .memory, .status: "\(rawValue).json"
        case .model: "model.safetensors"
        case .optimizer: "optimizer-0-of-2.safetensors"
        case .pairs: "pairs.tsv"
        case .documents, .ledger, .evaluations, .checkpoints, .resumes: "\(rawValue).jsonl"
        case .heartbeat: "heartbeat-1"
        }
    }

    /// What fuzzing starts from, the sound one first; the others are variants, and inputs that once were too much.
    ///
    /// The sound records and checkpoint are those of `mpirun -n 2 lockstep train config.yaml --profile profile.json`, first
    /// with `train.steps=2` and then, with `--resume`, to the end; the profile is a measured one with few of its samples.
    public func seeds() throws -> [[UInt8]] {
        let files = try FileManager.default.contentsOfDirectory(atPath: Self.seedsFolder + rawValue)
        let others = files.filter { $0 != fileName }.sorted()
        return try ([fileName] + others).map(seed)
    }

    /// The sound one.
    func soundSeed() throws -> [UInt8] { try seed(fileName) }

    func seed(_ name: String) throws -> [UInt8] {
        try [UInt8](Data(contentsOf: URL(filePath: "\(Self.seedsFolder)\(rawValue)/\(name)")))
    }

    private static let seedsFolder = URL(filePath: #filePath).deletingLastPathComponent().path + "/Seeds/"
}
