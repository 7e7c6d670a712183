import Configs

/// A text of letters, each drawn uniformly: no model's loss can be below ln `symbols` nats a letter in the long run, and one
/// that has learned nothing but the letters is there. A function of the settings alone.
enum UniformText {
    /// - Throws: `LockstepError`: `.cannotCreate`, `.inputOutput`.
    static func write(_ settings: GeneratedConfig, to path: String) throws {
        let file = try AtomicFile(path: path)
        var random = SplitMix64(state: settings.seed)
        var rest = settings.characters
        while rest > 0 {
            let part = (0..<min(rest, 1 << 16)).map { _ in random.letter(of: settings.symbols) }
            try part.withUnsafeBytes { try file.write($0) }
            rest -= part.count
        }
        try file.finish()
    }
}

extension SplitMix64 {
    /// One of the first `symbols` letters of the alphabet.
    mutating func letter(of symbols: Int) -> UInt8 { UInt8(ascii: "a") + UInt8(next(below: symbols)) }
}
