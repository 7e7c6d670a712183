import Configs
import Foundation
import Kernels

/// The most likely continuation that a search with `beams` hypotheses finds (Lowerre 1976): all of one length, so that
/// log-probabilities compare, or each up to a token that ends it, when they compare as those of whole texts.
public struct BeamSearch {
    /// Tokens behind the prompt, and the sum of their log-probabilities.
    public struct Hypothesis: Equatable {
        public var tokens: [Int32]
        public var logProbability: Double
    }

    private let decoder: CachedDecoder
    private let beams: Int

    /// `decoder` has at least `beams` sequences.
    public init(decoder: CachedDecoder, beams: Int) {
        precondition(
            (1...decoder.sequences).contains(beams), "\(beams) beams of \(decoder.sequences) sequences")
        self.decoder = decoder
        self.beams = beams
    }

    /// The best hypotheses of `count` tokens behind `prompt`, the best first. Prompt and tokens fit the capacity.
    ///
    /// - Parameter end: no token follows it.
    public func search(_ prompt: [Int32], count: Int, end: Int32? = nil) -> [Hypothesis] {
        precondition(prompt.count + count <= decoder.capacity, "prompt and continuation do not fit")
        (0..<decoder.sequences).forEach(decoder.clear)
        let start = [Hypothesis(tokens: [], logProbability: 0)]
        var hypotheses = extend(start, [decoder.append(prompt, to: 0)], end).map(\.hypothesis)
        // All beams begin as the first one.
        decoder.follow(Array(repeating: 0, count: decoder.sequences))
        // More tokens make none more likely: the best one that has ended stays the best.
        for _ in 1..<max(1, count) where end == nil || hypotheses[0].tokens.last != end {
            let steps = hypotheses.enumerated().map { (token: $1.tokens.last ?? 0, sequence: $0) }
            let logits = decoder.step(steps)
            let extended = extend(hypotheses, hypotheses.indices.map { logits.rows($0..<$0 + 1).vector }, end)
            decoder.follow(parents(extended.map(\.parent)))
            hypotheses = extended.map(\.hypothesis)
        }
        return hypotheses
    }

    /// The sequences that no beam needs stay where they are, unless another took their place.
    private func parents(_ chosen: [Int]) -> [Int] {
        chosen + Array(repeating: chosen[0], count: decoder.sequences - chosen.count)
    }

    /// The `beams` most likely hypotheses of a token more, or as they are where they have ended, with the places of those
    /// that they extend.
    private func extend(
        _ hypotheses: [Hypothesis], _ logits: [Vector], _ end: Int32?
    ) -> [(parent: Int, hypothesis: Hypothesis)] {
        var candidates: [(parent: Int, token: Int?, logProbability: Double)] = []
        for (parent, logits) in logits.enumerated() {
            if let end, hypotheses[parent].tokens.last == end {
                candidates.append((parent, nil, hypotheses[parent].logProbability))
                continue
            }
            let largest = Double(logits[Reductions.indexOfLargest(logits)])
            let sum = (0..<logits.count).reduce(0.0) { $0 + exp(Double(logits.base[$1]) - largest) }
            let base = hypotheses[parent].logProbability - largest - log(sum)
            var heap = TokenHeap(logits)
            for _ in 0..<min(beams, logits.count) {
                let token = heap.popLargest().index
                candidates.append((parent, token, base + Double(logits.base[token])))
            }
        }
        candidates.sort { $0.logProbability > $1.logProbability }
        return candidates.prefix(beams).map { candidate in
            var hypothesis = hypotheses[candidate.parent]
            if let token = candidate.token { hypothesis.tokens.append(Int32(token)) }
            hypothesis.logProbability = candidate.logProbability
            return (candidate.parent, hypothesis)
        }
    }
}
