import Corpus
import Testing

@Suite struct SampleOrderTests {
    private func epoch(_ epoch: Int, seed: UInt64, count: Int) -> [Int] {
        let order = SampleOrder(seed: seed, count: count)
        return (0..<count).map { order.sample(at: epoch * count + $0) }
    }

    @Test(arguments: [1, 2, 3, 4, 5, 7, 16, 17, 63, 64, 65, 100, 256, 1000, 4095, 4096, 4097, 65_537])
    func everySampleOnceAnEpoch(count: Int) {
        for epochNumber in [0, 1, 2, 1_000_000] {
            #expect(epoch(epochNumber, seed: 1, count: count).sorted() == Array(0..<count))
        }
    }

    @Test func hugeCountsStayInRange() {
        for count in [Int(Int32.max), Int(Int32.max) + 1, 1 << 40] {
            let order = SampleOrder(seed: 3, count: count)
            for position in [0, 1, count - 1, count, 5 * count + 7] {
                #expect((0..<count).contains(order.sample(at: position)))
            }
        }
    }

    @Test func epochsAndSeedsDiffer() {
        let permutations = [(0, 1), (1, 1), (2, 1), (0, 2), (1, 2), (0, 0), (1, 0), (0, .max)]
            .map { epoch($0.0, seed: $0.1, count: 1000) }
        #expect(Set(permutations).count == permutations.count)
        for (index, first) in permutations.enumerated() {
            for second in permutations[(index + 1)...] {
                // Two independent permutations agree in about one place.
                #expect(zip(first, second).filter { $0 == $1 }.count < 10)
            }
        }
    }

    /// A resumed run depends on these values: a change here breaks every checkpoint's data cursor.
    @Test func orderIsStable() {
        #expect(epoch(0, seed: 1, count: 10) == [5, 3, 8, 4, 7, 1, 9, 0, 2, 6])
        #expect(epoch(3, seed: 42, count: 10) == [4, 8, 7, 6, 5, 3, 0, 9, 1, 2])
    }

    /// Every permutation of three and four samples occurs about equally often over the epochs.
    @Test(arguments: [(2, 2), (3, 6), (4, 24)])
    func smallEpochsTakeEveryOrder(count: Int, permutations: Int) {
        let draws = 1000 * permutations
        var seen: [[Int]: Int] = [:]
        for number in 0..<draws { seen[epoch(number, seed: 9, count: count), default: 0] += 1 }
        #expect(seen.count == permutations)
        // A share's standard deviation is below √1000 ≈ 32: six of them.
        for (order, times) in seen { #expect(abs(times - 1000) < 190, "\(order): \(times)") }
    }

    /// Statistics of a random permutation π of n samples, each tested at about six standard deviations.
    @Test(arguments: [1000, 4096, 4097, 20_000], [0, 1, 7])
    func noVisibleStructure(count: Int, epochNumber: Int) {
        let order = epoch(epochNumber, seed: 5, count: count)
        let n = Double(count)

        let fixedPoints = order.enumerated().filter { $0.offset == $0.element }.count
        #expect(fixedPoints < 10)
        let successors = zip(order, order.dropFirst()).filter { $0 + 1 == $1 }.count
        #expect(successors < 10)

        // Mean step between neighbours: n/3.
        let meanStep = zip(order, order.dropFirst()).map { abs(Double($0 - $1)) }.reduce(0, +) / (n - 1)
        #expect(abs(meanStep / (n / 3) - 1) < 6 * 0.75 / n.squareRoot())

        // Correlation with the position, and with the neighbour at several lags: deviation 1/√n.
        let centered = order.map { Double($0) - (n - 1) / 2 }
        let variance = (n * n - 1) / 12
        let trend = centered.enumerated().map { (Double($0.offset) - (n - 1) / 2) * $0.element }.reduce(0, +)
        #expect(abs(trend / (n * variance)) < 6 / n.squareRoot())
        for lag in [1, 2, 3, 8, 32, 64] {
            let products = zip(centered, centered.dropFirst(lag)).map { $0 * $1 }.reduce(0, +)
            #expect(abs(products / (n * variance)) < 6 / n.squareRoot(), "lag \(lag)")
        }

        // Parities of position and sample are independent.
        let agreeing = order.enumerated().filter { ($0.offset ^ $0.element) & 1 == 0 }.count
        #expect(abs(Double(agreeing) - n / 2) < 6 * n.squareRoot() / 2)
    }
}
