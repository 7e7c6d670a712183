import Configs
import Foundation
import Kernels

/// The most likely continuation that a search with `beams` hypotheses finds (Lowerre 1976): all of one length, so that
/// log-probabilities compare.
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
    public func search(_ prompt: [Int32], count: Int) -> [Hypothesis] {
        precondition(prompt.count + count <= decoder.capacity, "prompt and continuation do not fit")
        (0..<decoder.sequences).forEach(decoder.clear)
        var hypotheses = extend([Hypothesis(tokens: [], logProbability: 0)], [decoder.append(prompt, to: 0)])
            .map(\.hypothesis)
        // All beams begin as the first one.
        decoder.follow(Array(repeating: 0, count: decoder.sequences))
        while hypotheses[0].tokens.count < count {
            let steps = hypotheses.enumerated().map { (token: $1.tokens.last ?? 0, sequence: $0) }
            let logits = decoder.step(steps)
            let extended = extend(hypotheses, hypotheses.indices.map { logits.rows($0..<$0 + 1).vector })
            decoder.follow(parents(extended.map(\.parent)))
            hypotheses = extended.map(\.hypothesis)
        }
        return hypotheses
    }

    /// The sequences that no beam needs stay where they are, unless another took their place.
    private func parents(_ chosen: [Int]) -> [Int] {
        chosen + Array(repeating: chosen[0], count: decoder.sequences - chosen.count)
    }

    /// The `beams` most likely hypotheses of a token more, with the places of those that they extend.
    private func extend(
        _ hypotheses: [Hypothesis], _ logits: [Vector]
    ) -> [(parent: Int, hypothesis: Hypothesis)] {
        var candidates: [(parent: Int, token: Int, logProbability: Double)] = []
        for (parent, logits) in logits.enumerated() {
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
            hypothesis.tokens.append(Int32(candidate.token))
            hypothesis.logProbability = candidate.logProbability
            return (candidate.parent, hypothesis)
        }
    }
}
