import Configs
import Cost

/// Estimate and measurement side by side, for every term and rank: `verification.json`.
public struct Verification: Sendable, Equatable {
    /// One term on one rank.
    public struct Result: Sendable, Equatable {
        public var term: String
        public var rank: Int
        /// Of both figures: `B`, `s`, `FLOP`, or `1` for a plain number.
        public var unit: String
        /// nil while nothing is known.
        public var estimated: Double?
        /// nil when no sample tells.
        public var measured: Double?
        /// (measured − estimated) / estimated; nil when one of them is nil, or when only `estimated` is zero.
        public var relativeError: Double?
        /// What the estimate comes to at the speed that the machine had during the run, for times of steps that of each
        /// step: `measured` over it is the median of the steps' ratios. nil where speed plays no part, or where the run does
        /// not know it.
        public var estimatedAtSpeed: Double?
        /// (measured − estimatedAtSpeed) / estimatedAtSpeed.
        public var relativeErrorAtSpeed: Double?
        /// Largest allowed |relative error|, at the machine's speed where that is known; 0 asks for equality, nil does not
        /// judge.
        public var tolerance: Double?
        /// nil when not judged.
        public var within: Bool?
        /// Steps whose figure is not the estimated one, for terms that every step has to meet; nil for others.
        public var deviatingSteps: Int?
        /// The first of them.
        public var firstDeviatingStep: Int?

        public init(
            term: String, rank: Int, unit: String, estimated: Double?, measured: Double?,
            estimatedAtSpeed: Double? = nil, tolerance: Double?, deviatingSteps: Int? = nil,
            firstDeviatingStep: Int? = nil
        ) {
            self.term = term
            self.rank = rank
            self.unit = unit
            self.estimated = estimated
            self.measured = measured
            self.estimatedAtSpeed = estimatedAtSpeed
            self.tolerance = tolerance
            self.deviatingSteps = deviatingSteps
            self.firstDeviatingStep = firstDeviatingStep
            guard let estimated, let measured else { return }
            relativeError = Self.relativeError(of: measured, from: estimated)
            relativeErrorAtSpeed = estimatedAtSpeed.flatMap { Self.relativeError(of: measured, from: $0) }
            if let tolerance {
                within = judgedError.map { abs($0) <= tolerance } ?? false
            }
        }

        /// The one that the tolerance is for.
        public var judgedError: Double? { relativeErrorAtSpeed ?? relativeError }

        /// nil when only `estimate` is zero.
        private static func relativeError(of figure: Double, from estimate: Double) -> Double? {
            let difference = figure - estimate
            return estimate != 0 ? difference / estimate : difference == 0 ? 0 : nil
        }
    }

    public var schemaVersion = 1
    public var ranks: Int
    /// Steps of the run that the ledger knows.
    public var steps: Int
    /// Terms in the order of `VerifiedTerm.all`, ranks ascending within each.
    public var results: [Result]
    /// What else a reader has to know, such as lines that the ledger lacks.
    public var notes: [String]

    public init(ranks: Int, steps: Int, results: [Result], notes: [String] = []) {
        self.ranks = ranks
        self.steps = steps
        self.results = results
        self.notes = notes
    }

    /// Terms that are judged and missed, on any rank.
    public var misses: [Result] { results.filter { $0.within == false } }

    /// Compares what `run` was expected to cost with what its ledger says that it cost.
    ///
    /// Throws `inputMissing` when a file is missing, `badData` with file and line when one is damaged, and when the
    /// ledger lacks a rank altogether.
    public init(of run: RunDirectory, tolerances: Tolerances = Tolerances()) throws(LockstepError) {
        let estimate = try JSONFile.read(Estimate.self, from: run.estimate)
        guard estimate.ranks >= 1 else {
            throw LockstepError(
                .badData, "\(run.estimate): 'ranks' is \(estimate.ranks), which is no number of ranks")
        }
        let sizes = [estimate.memory.parameters, estimate.memory.peak ?? 0]
        guard sizes.allSatisfy((0...1 << 53).contains) else {
            throw LockstepError(
                .badData,
                "\(run.estimate): 'memory' holds a size that is below zero, or beyond any machine; the file is damaged"
            )
        }
        var reader = try LedgerReader(path: run.ledger)
        // The estimate is for the ranks that the run was last resumed with.
        let resumed = try run.stepsBeforeResume()
        let measurements = try RunMeasurements(of: run, after: resumed)
        var comparison = Comparison(with: estimate, measurements)
        while let line = try reader.next() {
            guard line.sample.step > resumed else { continue }
            guard line.sample.rank < estimate.ranks else {
                throw LockstepError(
                    .badData,
                    "\(run.ledger), line \(reader.line): 'rank' is \(line.sample.rank), but estimate.json is for "
                        + "\(estimate.ranks) ranks, numbered from 0")
            }
            comparison.add(line.sample)
        }
        guard comparison.ranks == estimate.ranks else {
            throw LockstepError(
                .badData,
                "\(run.ledger): holds samples of \(comparison.ranks) of \(estimate.ranks) ranks; a run can be "
                    + "verified once every rank has finished a step")
        }
        self = comparison.verification(tolerances)
        if resumed > 0 {
            notes.append("the run was resumed behind step \(resumed), and is judged from there on")
        }
        if let line = reader.truncatedLine {
            notes.append("\(run.ledger), line \(line): the last line is incomplete and was left out")
        }
    }
}

extension Verification: Codable {
    private enum CodingKeys: String, CodingKey {
        case ranks, steps, notes
        case schemaVersion = "schema_version"
        case results = "terms"
    }
}

extension Verification.Result: Codable {
    private enum CodingKeys: String, CodingKey {
        case term, rank, unit, estimated, measured, tolerance, within
        case relativeError = "relative_error"
        case estimatedAtSpeed = "estimated_at_speed"
        case relativeErrorAtSpeed = "relative_error_at_speed"
        case deviatingSteps = "deviating_steps"
        case firstDeviatingStep = "first_deviating_step"
    }

    public func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: CodingKeys.self)
        try values.encode(term, forKey: .term)
        try values.encode(rank, forKey: .rank)
        try values.encode(unit, forKey: .unit)
        try values.encode(estimated?.finite, forKey: .estimated)
        try values.encode(measured?.finite, forKey: .measured)
        try values.encode(relativeError?.finite, forKey: .relativeError)
        try values.encodeIfPresent(estimatedAtSpeed?.finite, forKey: .estimatedAtSpeed)
        try values.encodeIfPresent(relativeErrorAtSpeed?.finite, forKey: .relativeErrorAtSpeed)
        try values.encode(tolerance, forKey: .tolerance)
        try values.encode(within, forKey: .within)
        try values.encodeIfPresent(deviatingSteps, forKey: .deviatingSteps)
        try values.encodeIfPresent(firstDeviatingStep, forKey: .firstDeviatingStep)
    }
}
