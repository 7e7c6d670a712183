import Configs

/// Pairs that need no download, each drawn at random: texts of letters, or sums.
///
/// Which pairs there are depends on the settings and their seed alone. A source is in the validation split or in the training
/// split, never in both.
struct GeneratedPairs {
    private let task: DataConfig.Task
    private let settings: GeneratedConfig
    private var random: SplitMix64

    init(_ task: DataConfig.Task, _ settings: GeneratedConfig) {
        self.task = task
        self.settings = settings
        random = SplitMix64(state: settings.seed)
    }

    /// The longest source and target, in bytes.
    static func longest(
        _ task: DataConfig.Task, _ settings: GeneratedConfig
    ) -> (source: Int, target: Int) {
        task == .addition
            ? (2 * settings.digits + 1, settings.digits + 1) : (settings.maxLength, settings.maxLength)
    }

    /// A source and its target.
    mutating func next() -> (source: [UInt8], target: [UInt8]) {
        if task == .addition {
            let limit = (0..<settings.digits).reduce(1) { power, _ in 10 * power }
            let (a, b) = (random.next(below: limit), random.next(below: limit))
            return (Array("\(a)+\(b)".utf8), Array("\(a + b)".utf8))
        }
        let length = settings.minLength + random.next(below: settings.maxLength - settings.minLength + 1)
        let source = (0..<length).map { _ in random.letter(of: settings.symbols) }
        return switch task {
        case .reverse: (source, source.reversed())
        case .sort: (source, source.sorted())
        default: (source, source)
        }
    }

    /// Whether a source belongs to the validation split, of which there is `share`.
    static func isHeldOut(_ source: [UInt8], share: Double) -> Bool {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in source { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        var mixed = SplitMix64(state: hash)
        return mixed.nextUnit() < share
    }
}
