import Foundation
import Kernels

/// How the next token is chosen from its logits.
public struct Sampling: Sendable {
    /// Divides the logits; 0 is greedy: always the most likely token, of equal ones the first.
    public var temperature: Double
    /// Choose among this many most likely tokens only; nil is among all.
    public var topK: Int?
    /// Choose among the fewest most likely tokens only that together have this probability, those of `topK` counted as all
    /// (Holtzman et al. 2020); nil is among all.
    public var topP: Double?
    /// The same seed gives the same text.
    public var seed: UInt64

    public init(temperature: Double, topK: Int? = nil, topP: Double? = nil, seed: UInt64) {
        self.temperature = temperature
        self.topK = topK
        self.topP = topP
        self.seed = seed
    }

    /// Chooses from `logits` with numbers from `random`.
    public func choose(_ logits: Vector, _ random: inout SplitMix64) -> Int32 {
        guard temperature > 0, topK != 1 else { return Int32(Reductions.indexOfLargest(logits)) }
        let largest = Double(logits[Reductions.indexOfLargest(logits)])
        func weight(_ token: Int) -> Double { exp((Double(logits.base[token]) - largest) / temperature) }
        guard topK != nil || topP != nil else {
            return Int32(draw((0..<logits.count).map { ($0, weight($0)) }, &random))
        }
        var heap = TokenHeap(logits)
        let most = min(topK ?? logits.count, logits.count)
        var candidates: [(token: Int, weight: Double)] = []
        guard let topP else {
            while candidates.count < most { candidates.append(heap.popLargest().weighed(weight)) }
            return Int32(draw(candidates, &random))
        }
        // Without top-k the mass is that of the whole vocabulary.
        if topK != nil {
            while candidates.count < most { candidates.append(heap.popLargest().weighed(weight)) }
        }
        let total =
            topK != nil
            ? candidates.reduce(0) { $0 + $1.weight } : (0..<logits.count).reduce(0) { $0 + weight($1) }
        var (kept, mass) = (0, 0.0)
        while kept < most && mass < topP * total {
            if kept == candidates.count { candidates.append(heap.popLargest().weighed(weight)) }
            mass += candidates[kept].weight
            kept += 1
        }
        return Int32(draw(Array(candidates.prefix(max(1, kept))), &random))
    }

    private func draw(_ candidates: [(token: Int, weight: Double)], _ random: inout SplitMix64) -> Int {
        var remaining = random.nextUnit() * candidates.reduce(0) { $0 + $1.weight }
        for (token, weight) in candidates {
            remaining -= weight
            if remaining < 0 { return token }
        }
        return candidates[0].token
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): a small repeatable generator, enough to draw tokens.
public struct SplitMix64: Sendable {
    private var state: UInt64

    /// Sequences of the same seed and another number draw other numbers.
    public init(seed: UInt64, sequence: Int = 0) {
        state = seed
        for _ in 0..<sequence { _ = next() }
        if sequence > 0 { state = next() }
    }

    private mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    /// Uniform in [0, 1).
    mutating func nextUnit() -> Double { Double(next() >> 11) * 0x1p-53 }
}

/// Tokens by their logits, the largest first, of equal ones the first: as many are ordered as are taken.
struct TokenHeap {
    private let logits: Vector
    private var tokens: [Int32]

    /// `logits` must outlive this.
    init(_ logits: Vector) {
        self.logits = logits
        tokens = Array(0..<Int32(logits.count))
        for index in (0..<tokens.count / 2).reversed() { siftDown(index) }
    }

    struct Token {
        let index: Int
        func weighed(_ weight: (Int) -> Double) -> (token: Int, weight: Double) { (index, weight(index)) }
    }

    /// There must be tokens left.
    mutating func popLargest() -> Token {
        let largest = tokens[0]
        let last = tokens.removeLast()
        if !tokens.isEmpty {
            tokens[0] = last
            siftDown(0)
        }
        return Token(index: Int(largest))
    }

    private func isBefore(_ a: Int32, _ b: Int32) -> Bool {
        let (first, second) = (logits.base[Int(a)], logits.base[Int(b)])
        return first > second || (first == second && a < b)
    }

    private mutating func siftDown(_ start: Int) {
        var index = start
        while true {
            var child = 2 * index + 1
            guard child < tokens.count else { return }
            if child + 1 < tokens.count && isBefore(tokens[child + 1], tokens[child]) { child += 1 }
            guard isBefore(tokens[child], tokens[index]) else { return }
            tokens.swapAt(index, child)
            index = child
        }
    }
}
