import Cost
import Kernels

/// Products of generation over the weights of layers, the same again and again: what calibration measures of them, and a run
/// once more, to see how far its machine has drifted.
package struct WeightPasses {
    /// Layers of rising widths, from those that a core's own cache holds to those that none does.
    package static let layers = [
        (width: 96, count: 1), (width: 192, count: 1), (width: 384, count: 2), (width: 768, count: 2),
        (width: 768, count: 5),
    ]
    package static let rows = [1, 2, 4, 8, 16, 32, 128]

    private let memory: Vector
    private let team: ThreadTeam

    /// Elements of the memory that all passes need.
    package static let memoryCount = layers.map { numbers($0) + 8 * 128 * $0.width }.max() ?? 0

    /// - Parameter memory: `memoryCount` elements of any content, which is overwritten.
    package init(in memory: Vector, on team: ThreadTeam) {
        self.memory = memory
        self.team = team
    }

    private static func numbers(_ layer: (width: Int, count: Int)) -> Int {
        12 * layer.width * layer.width * layer.count
    }

    /// Every pass, each as fast as in the fastest of some rounds: what slows a core down for a moment has passed by the next.
    package func measure<Element: StepWeight>(
        _ type: Element.Type, rows: [Int] = rows
    ) -> [InferenceModel.Sample] {
        // What is left out is as fast, for each of its multiply-adds, as the same rows of fewer layers.
        let passes = Self.layers.flatMap { layer in rows.map { (layer, $0) } }
            .filter { Self.numbers($0) * $1 <= 1 << 30 }
        var fastest: [InferenceModel.Sample] = []
        for round in 0..<3 {
            let samples = passes.map { measure(type, $0, rows: $1, repetitions: 1) }
            if round == 0 { fastest = samples }
            for (index, sample) in samples.enumerated()
            where sample.secondsPerNumber < fastest[index].secondsPerNumber { fastest[index] = sample }
        }
        return fastest
    }

    /// Seconds of a number now, over what they were at `sample`; nil when no such pass is known.
    package func drift<Element: StepWeight>(_ type: Element.Type, from sample: InferenceModel.Sample)
        -> Double?
    {
        let size = MemoryLayout<Element>.stride
        guard let layer = Self.layers.first(where: { Self.numbers($0) * size == sample.bytes }) else {
            return nil
        }
        let now = measure(type, layer, rows: sample.rows, repetitions: 15)
        return now.secondsPerNumber / sample.secondsPerNumber
    }

    private func measure<Element: StepWeight>(
        _ type: Element.Type, _ layer: (width: Int, count: Int), rows: Int, repetitions: Int
    ) -> InferenceModel.Sample {
        let (width, numbers) = (layer.width, Self.numbers(layer))
        let operands = memory.slice(0..<2 * rows * 4 * width)
        let x = operands.slice(0..<rows * 4 * width).matrix(rows: rows, columns: 4 * width)
        let y = operands.slice(rows * 4 * width..<operands.count).matrix(rows: rows, columns: 4 * width)
        let weights = UnsafeMutableRawPointer(memory.base + memory.count - numbers)
            .assumingMemoryBound(to: Element.self)
        let shapes = [(3 * width, width), (width, width), (4 * width, width), (width, 4 * width)]
        func pass() {
            var first = weights
            for _ in 0..<layer.count {
                for (outputs, inputs) in shapes {
                    FewRows.forward(
                        x.columns(0..<inputs),
                        weight: MatrixView(base: first, rows: outputs, columns: inputs),
                        into: y.columns(0..<outputs), on: team)
                    first += outputs * inputs
                }
            }
        }
        // Short passes are repeated, and the first does not count.
        let passes = max(1, (1 << 22) / (numbers * rows))
        pass()
        let times = (0..<repetitions).map { _ in
            let start = ContinuousClock.now
            for _ in 0..<passes { pass() }
            return (ContinuousClock.now - start) / .seconds(1)
        }.sorted()
        return .init(
            rows: rows, bytes: numbers * MemoryLayout<Element>.stride,
            secondsPerNumber: times[times.count / 2] / Double(passes * numbers))
    }
}

/// How much longer what generating with `record` consists of takes now than when `references` were measured.
package func generationDrift(
    _ record: GenerationRecord, from references: (prompt: InferenceModel.Sample, step: InferenceModel.Sample)
) throws -> (prompt: Double, step: Double)? {
    let memory = try AlignedBuffer<Float>(count: WeightPasses.memoryCount)
    Reductions.fill(memory.vector, with: 0.5)
    let passes = WeightPasses(in: memory.vector, on: try ThreadTeam(threads: record.shape.threads))
    func drift(_ sample: InferenceModel.Sample) -> Double? {
        record.shape.rounds
            ? passes.drift(BFloat16.self, from: sample) : passes.drift(Float.self, from: sample)
    }
    guard let prompt = drift(references.prompt), let step = drift(references.step) else { return nil }
    return (prompt, step)
}
