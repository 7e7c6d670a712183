import Configs

/// Random lines that a text's training split gets, some once and some often, so that it can be seen which of them a model
/// has learned by heart (Carlini et al. 2019, 2023). A function of the settings and the text alone.
struct Canaries {
    struct Canary: Equatable {
        var text: [UInt8]
        var copies: Int
    }

    let canaries: [Canary]
    private let validationFraction: Double
    private var random: SplitMix64

    /// Of all copies, with the ends of their lines.
    var bytes: Int { canaries.reduce(0) { $0 + $1.copies * ($1.text.count + 1) } }

    /// The most that a text may grow by.
    private static let mostBytes = 1 << 30

    /// - Throws: `LockstepError(.badConfiguration)` when there are not so many different lines, or the copies take too much.
    init(_ data: DataConfig) throws {
        let settings = data.generated
        validationFraction = data.validationFraction
        var random = SplitMix64(state: settings.seed)
        var (found, canaries) = (Set<[UInt8]>(), [Canary]())
        var tries = 0
        for copies in settings.canaryCopies {
            for _ in 0..<settings.canaries {
                var text: [UInt8] = []
                repeat {
                    tries += 1
                    guard tries < 1000 + 100 * settings.canaries * settings.canaryCopies.count else {
                        throw LockstepError(
                            .badConfiguration,
                            "data.generated: there are not \(settings.canaries * settings.canaryCopies.count) different "
                                + "canaries of \(settings.canaryLength) letters and \(settings.symbols) symbols. Raise "
                                + "canary_length or symbols.")
                    }
                    text = (0..<settings.canaryLength).map { _ in random.letter(of: settings.symbols) }
                } while !found.insert(text).inserted
                canaries.append(Canary(text: text, copies: copies))
            }
        }
        self.canaries = canaries
        self.random = random
        guard bytes <= Self.mostBytes else {
            throw LockstepError(
                .badConfiguration,
                "data.generated: all copies of the canaries take \(bytes) bytes, more than \(Self.mostBytes). Lower "
                    + "canaries, canary_length or canary_copies.")
        }
    }

    /// Writes `text` with all copies, each a line at the beginning of a line of the training split, to `path`, and the
    /// canaries with the number of their copies to `list`, one a line with a tab before it.
    ///
    /// - Throws: `LockstepError`: `.cannotCreate`, `.inputOutput`.
    func write(into text: TextFile, to path: String, list: String) throws {
        let source = text.bytes
        let file = try AtomicFile(path: path)
        var done = 0
        for (position, canary) in places(in: source) {
            try file.write(UnsafeRawBufferPointer(rebasing: source[done..<position]))
            try (canary.text + [0x0A]).withUnsafeBytes { try file.write($0) }
            done = position
        }
        try file.write(UnsafeRawBufferPointer(rebasing: source[done...]))
        try file.finish()
        let lines: [UInt8] = canaries.flatMap { canary -> [UInt8] in
            Array("\(canary.copies)\t".utf8) + canary.text + [0x0A]
        }
        try AtomicFile.write(lines, to: list)
    }

    /// Where every copy goes, in the order of the text.
    private func places(in text: UnsafeRawBufferPointer) -> [(position: Int, canary: Canary)] {
        let size = text.count + bytes
        let held = Int((Double(size) * validationFraction).rounded())
        // Bytes of the text itself before the validation split.
        let end = max(1, text.count - held)
        var random = random
        let places = canaries.flatMap { canary in
            (0..<canary.copies).map { _ in (lineStart(text, at: random.next(below: end)), canary) }
        }
        // Copies that fall on the same line stay in the order in which they were drawn.
        return places.enumerated().sorted { ($0.element.0, $0.offset) < ($1.element.0, $1.offset) }
            .map { ($0.element.0, $0.element.1) }
    }

    /// Where the line begins that `position` is in.
    private func lineStart(_ text: UnsafeRawBufferPointer, at position: Int) -> Int {
        text[..<position].lastIndex(of: 0x0A).map { $0 + 1 } ?? 0
    }
}
