import Foundation

/// What the program reads that others may have written or damaged.
public enum Format: String, CaseIterable, Sendable {
    case config, override, cluster
    case corpus, shard
    case manifest, state, model, optimizer
    case profile
    case estimate, ledger, evaluations, checkpoints, resumes, speed, memory, status, heartbeat

    /// Of a file of the format, and of the seed that is sound.
    var fileName: String {
        switch self {
        case .config: "config.yaml"
        case .override: "override"
        case .cluster: "cluster.yaml"
        case .corpus: "corpus.txt"
        case .shard: "tokens.bin"
        case .manifest, .state, .profile, .estimate, .speed, .memory, .status: "\(rawValue).json"
        case .model: "model.safetensors"
        case .optimizer: "optimizer-0-of-2.safetensors"
        case .ledger, .evaluations, .checkpoints, .resumes: "\(rawValue).jsonl"
        case .heartbeat: "heartbeat-1"
        }
    }

    /// What fuzzing starts from, the sound one first. A run of the product left most of them behind; the others are
    /// inputs that once were too much for a parser.
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
