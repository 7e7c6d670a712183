import Configs

/// What the layers of a model ask for while they are put together: parameters, activations that the backward pass
/// needs, and workspace. Nothing is allocated yet.
public struct ModelPlan {
    /// Shape of the model.
    public let model: ModelConfig
    /// Largest number of sequences of a pass (b).
    public let sequences: Int
    /// That work on a pass together.
    public let threads: Int
    /// Largest number of tokens of a pass (t = b·s).
    public var tokens: Int { sequences * model.contextLength }

    public var parameters = ParameterLayout()
    /// Kept from forward to backward.
    public var activations = ArenaPlan()
    /// Alive within a layer's forward or backward.
    public var workspace = ArenaPlan()
    private var dropoutSites = 0

    public init(model: ModelConfig, sequences: Int, threads: Int) {
        self.threads = threads
        self.model = model
        self.sequences = sequences
    }

    /// A number that tells one dropout of the model from every other.
    mutating func addDropoutSite() -> Int {
        defer { dropoutSites += 1 }
        return dropoutSites
    }
}
