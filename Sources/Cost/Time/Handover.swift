import Configs

/// What threads of a rank hand over to each other. The caches of all cores keep what their threads read, and who writes it
/// again waits, line by line, until they have given it back: some 7 ns a line on Zen 4, 30 where two cores have no cache in
/// common. To pack what another thread has written costs half of that.
extension Profile.Layout {
    /// Seconds that the busiest thread waits for it in `work`; 0 where that was not measured.
    ///
    /// - Parameter far: how much of what was last used a pass ago comes from memory, whoever used it.
    func handovers(_ work: Work, of workload: Workload, _ coldness: Coldness, far: Double) -> Double {
        guard threads > 1, let rate = reference.handoverBytesPerSecond else { return 0 }
        let bytesOfActivation = workload.isHalf ? 2.0 : 4.0
        var sum = 0.0
        for item in work.products where item.place != .head {
            let product = item.product
            // Gradients' buffers are used again by the next layer.
            let cold =
                product.role == .weightGradient
                ? coldness(distance: bytesOfActivation * Double(product.k * (product.m + product.n))) : far
            let handedOver =
                product.writtenForOthers(among: threads) + product.readFromOthers(among: threads) / 2
            sum += Double(item.count) * (1 - cold) * bytesOfActivation * handedOver
        }
        // The optimizer shares them out in another way than products.
        sum += (1 - far) * 4 * shareOfOthers(among: threads) * Double(work.overwrittenElements)
        for item in work.rows where item.place != .head {
            let elements = Double(item.rows) * Double(item.columns)
            let cold = item.place == .parameters ? far : coldness(distance: 4 * elements)
            let written = item.kernel.sharesWrittenForOthers(among: threads) * elements
            sum += Double(item.count) * (1 - cold) * 4 * written
        }
        return sum / rate
    }
}

extension Product {
    /// Elements of A and C that a thread of `threads` writes for others to read, where what comes before and after shares them
    /// out by rows.
    public func writtenForOthers(among threads: Int) -> Double {
        let part = largestPart(among: threads)
        let share = 1 / Double(threads)
        let isByColumns = part.product.n < n
        let ofA = share * Double(m) * Double(k)
        let ofC = (1 - share) * Double(m) * Double(n) * (part.isShared ? isByColumns ? share : 0 : 1)
        let readsAllOfA = isByColumns || !part.isShared
        switch role {
        // If not now, all read all of A for the weight's gradient.
        case .forward: return ofA + ofC
        case .inputGradient: return (readsAllOfA ? ofA : 0) + ofC
        case .weightGradient: return readsAllOfA ? ofA : (1 - share) * ofA
        }
    }

    /// Elements of A and B that a thread of `threads` reads and others have written, whose rows of activations are shared out.
    public func readFromOthers(among threads: Int) -> Double {
        let part = largestPart(among: threads)
        let ofOthers = 1 - 1 / Double(threads)
        guard role == .weightGradient else {
            let readsAllOfA = part.product.m == m
            return readsAllOfA ? ofOthers * Double(m) * Double(k) : 0
        }
        // Of one of both all columns, of the other those that are its own.
        return ofOthers * Double(k) * Double(part.product.m + part.product.n)
    }
}

extension RowKernel {
    /// Tensors of which each thread reads columns of all rows, or writes what others have read, in shares of a thread.
    fileprivate func sharesWrittenForOthers(among threads: Int) -> Double {
        let ofOthers = shareOfOthers(among: threads)
        switch self {
        case .embeddingForward, .embeddingBackward, .fill: return ofOthers
        case .layerNormBackward, .rmsNormBackward: return 2 * ofOthers
        // Parameters, which all read.
        case .sgd, .sgdMomentum, .adam, .adamW, .rmsProp, .rmsPropMomentum, .adaGrad:
            return 1 / Double(threads)
        default: return 0
        }
    }
}

/// Of a tensor, what one of `threads` threads writes and others had before, where both shares are equal and independent.
private func shareOfOthers(among threads: Int) -> Double { (1 - 1 / Double(threads)) / Double(threads) }
