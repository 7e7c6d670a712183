import Configs
import Kernels

/// Chooses the tokens that an encoder is to predict, and what it sees in their places (Devlin et al. 2019): each with the
/// same probability, at least one of every sequence; 80 % of these are replaced by the mask token, 10 % by any token, 10 %
/// stay.
///
/// A function of the seed and the sequence's position in the order of its split alone: the same at every number of ranks
/// and after every resume, and another one in each epoch.
package struct TokenMasking {
    private let threshold: UInt64
    private let maskToken: Int32
    private let vocabSize: Int
    private let seed: UInt64

    /// Nil for models that predict the next token.
    package init?(_ config: RunConfig) {
        guard config.model.family == .encoder else { return nil }
        threshold = UInt64(config.train.maskFraction * 0x1p32)
        maskToken = Int32(config.data.maskToken ?? config.model.vocabSize - 1)
        vocabSize = config.model.vocabSize
        seed = config.train.seed
    }

    /// Masks one sequence of `length` tokens in place; `targets` become the tokens that were chosen,
    /// `CrossEntropy.ignoredTarget` elsewhere.
    package func apply(
        inputs: UnsafeMutablePointer<Int32>, targets: UnsafeMutablePointer<Int32>, length: Int, position: Int
    ) {
        let random = generator(position)
        var chosen = 0
        for index in 0..<length {
            let words = random.block(counter: (UInt32(index), 0))
            targets[index] = CrossEntropy.ignoredTarget
            guard UInt64(words.0) < threshold else { continue }
            mask(index, words.1, random, inputs, targets)
            chosen += 1
        }
        guard chosen == 0 else { return }
        let words = random.block(counter: (0, 2))
        mask(place(words.0, below: length), words.1, random, inputs, targets)
    }

    /// `word` decides what becomes of the token.
    private func mask(
        _ index: Int, _ word: UInt32, _ random: Threefry, _ inputs: UnsafeMutablePointer<Int32>,
        _ targets: UnsafeMutablePointer<Int32>
    ) {
        targets[index] = inputs[index]
        switch Double(word) * 0x1p-32 {
        case ..<0.8: inputs[index] = maskToken
        case ..<0.9:
            let other = random.block(counter: (UInt32(index), 1)).0
            inputs[index] = Int32(place(other, below: vocabSize))
        default: break
        }
    }

    /// A number from 0 to `count` - 1, of 32 random bits.
    private func place(_ word: UInt32, below count: Int) -> Int {
        Int((UInt64(word) * UInt64(count)) >> 32)
    }

    private func generator(_ position: Int) -> Threefry {
        let root = Threefry(key: (UInt32(truncatingIfNeeded: seed), UInt32(truncatingIfNeeded: seed >> 32)))
        // Apart from the streams of dropout and initialization, which are numbered from 0.
        let split = root.block(counter: (0x6d61_736b, 0x6d61_736b))
        let place = UInt64(position)
        return Threefry(
            key: Threefry(key: split).block(
                counter: (UInt32(truncatingIfNeeded: place), UInt32(truncatingIfNeeded: place >> 32))))
    }
}
