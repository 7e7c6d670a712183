import Configs
import Cost
import Kernels
import MessagePassing
import Training

/// Times every row kernel over tensors that caches hold and over tensors that they do not.
struct RowKernelSweep {
    let pool: OperandPool
    let team: ThreadTeam
    /// Takes samples between the kernels.
    let meter: ReferenceMeter
    /// The speed that times are to hold at.
    let reference: ReferenceSpeed

    /// Every kernel is timed in each of them, as products are.
    private static let rounds = 3

    /// By `RowKernel`. Collective.
    func measure(
        on ranks: borrowing Communicator, progress: (Double) -> Void
    ) throws -> [String: RowKernelModel] {
        let kernels = RowKernel.allCases
        let tensors = kernels.flatMap { kernel in
            kernel.shapes.hot.map { (kernel, shape: $0, isHot: true) }
                + kernel.shapes.cold.map { (kernel, shape: $0, isHot: false) }
        }
        let times = RelativeTimes(count: tensors.count, meter: meter)
        for round in 0..<Self.rounds {
            for (index, tensor) in tensors.enumerated() {
                let (kernel, (rows, columns), isHot) = tensor
                if index > 0, tensors[index - 1].0 != kernel {
                    times.close()
                    try ranks.barrier()
                }
                let call = KernelCall(kernel, rows: rows, columns: columns, team: team)
                times.add(.init(repeating: time(call, isHot: isHot)), of: index)
            }
            times.close()
            progress(Double(round + 1) / Double(Self.rounds))
        }
        var models: [String: RowKernelModel] = [:]
        for kernel in kernels {
            let own = tensors.indices.filter { tensors[$0].0 == kernel }
            func samples(
                isHot: Bool, fast: RowKernelModel.Fit?
            ) throws -> [RowKernelModel.Sample] {
                try own.filter { tensors[$0].isHot == isHot }.map { index in
                    let (rows, columns) = tensors[index].shape
                    return RowKernelModel.Sample(
                        rows: rows, columns: columns,
                        seconds: try times.kernel(
                            index, hot: fast?.seconds(rows: rows, columns: columns), at: reference, on: ranks)
                    )
                }
            }
            let hot = RowKernelModel.Fit(try samples(isHot: true, fast: nil))
            let cold = try samples(isHot: false, fast: hot)
            models[kernel.rawValue] = RowKernelModel(
                hot: hot, cold: cold.isEmpty ? nil : .init(cold, secondsPerCall: hot.secondsPerCall))
        }
        return models
    }

    /// The middle of a few calls' seconds.
    private func time(_ call: KernelCall, isHot: Bool) -> Double {
        guard isHot else { return (0..<4).map { _ in call.run(in: pool) }.median }
        let times = (0..<7).map { _ in
            pool.rewind()
            pool.refill(min(6 * call.rows * call.columns, 1 << 21))
            // Leaves every thread what it works on.
            _ = call.run(in: pool)
            pool.rewind()
            return call.run(in: pool)
        }
        // The first finds nothing in the caches.
        return Array(times.dropFirst()).median
    }
}

extension RowKernel {
    /// Tensors to time: small enough for a core's own cache, and too large for any.
    fileprivate var shapes: (hot: [(Int, Int)], cold: [(Int, Int)]) {
        switch self {
        case .softmaxForward, .softmaxProbabilities, .softmaxBackward:
            // A block of queries, and the keys up to its last row.
            let rows = ModelConfig.attentionBlockRows
            return ([48, 64, 128, 256, 448, 512, 1024].map { (min(rows, $0), $0) }, [])
        case .rowDots: return ([(64, 16), (64, 64), (256, 32), (512, 128)], [])
        case .crossEntropyForward, .crossEntropyTraining:
            return (
                [(32, 256), (64, 256), (256, 256), (16, 4096)], [(512, 2048), (256, 8192), (64, 32_768)]
            )
        case .fill, .sumOfSquares, .sgd, .sgdMomentum, .adam, .adamW, .rmsProp, .rmsPropMomentum, .adaGrad:
            return ([(1, 4096), (1, 16_384), (1, 65_536)], [(1, 1 << 19), (1, 1 << 21)])
        default:
            return (
                [(16, 32), (32, 64), (256, 64), (128, 192), (32, 1024), (96, 384)],
                [(4096, 64), (1024, 768), (512, 2048)]
            )
        }
    }
}

extension RowKernel {
    fileprivate enum ActivationPart { case forward, backward, gatedForward, gatedBackward }

    /// Which part of which activation this is, if of any.
    fileprivate var activation: (Activation, ActivationPart)? {
        switch self {
        case .geluForward: (.geluTanh, .forward)
        case .geluBackward: (.geluTanh, .backward)
        case .geluErfForward: (.geluErf, .forward)
        case .geluErfBackward: (.geluErf, .backward)
        case .reluForward: (.relu, .forward)
        case .reluBackward: (.relu, .backward)
        case .siluForward: (.silu, .forward)
        case .siluBackward: (.silu, .backward)
        case .gatedGeluForward: (.geluTanh, .gatedForward)
        case .gatedGeluBackward: (.geluTanh, .gatedBackward)
        case .gatedGeluErfForward: (.geluErf, .gatedForward)
        case .gatedGeluErfBackward: (.geluErf, .gatedBackward)
        case .gatedReluForward: (.relu, .gatedForward)
        case .gatedReluBackward: (.relu, .gatedBackward)
        case .gatedSiluForward: (.silu, .gatedForward)
        case .gatedSiluBackward: (.silu, .gatedBackward)
        default: nil
        }
    }
}

/// One call of a kernel over `[rows, columns]`.
private struct KernelCall {
    let kernel: RowKernel
    let rows: Int
    let columns: Int
    let team: ThreadTeam

    init(_ kernel: RowKernel, rows: Int, columns: Int, team: ThreadTeam) {
        self.team = team
        self.kernel = kernel
        self.rows = rows
        self.columns = columns
    }

    /// Seconds of the call, on operands from `pool`.
    func run(in pool: OperandPool) -> Double {
        switch kernel {
        case .embeddingForward, .embeddingBackward: embedding(pool)
        case .layerNormForward, .layerNormBackward, .rmsNormForward, .rmsNormBackward: norm(pool)
        case .layerNormOfSum, .rmsNormOfSum: normOfSum(pool)
        case .crossEntropyForward, .crossEntropyTraining: crossEntropy(pool)
        case .softmaxForward, .softmaxProbabilities, .softmaxBackward, .rowDots: attention(pool)
        case .sgd: update(SGD(), pool)
        case .sgdMomentum: update(SGD(momentum: 0.9), pool)
        case .adam: update(Adam(), pool)
        case .adamW: update(AdamW(), pool)
        case .rmsProp: update(RMSProp(), pool)
        case .rmsPropMomentum: update(RMSProp(momentum: 0.9), pool)
        case .adaGrad: update(AdaGrad(), pool)
        default: elementwise(pool)
        }
    }

    private func elementwise(_ pool: OperandPool) -> Double {
        let (x, y, z) = (matrix(pool), matrix(pool), matrix(pool))
        if let (activation, part) = kernel.activation {
            let output = part == .gatedBackward ? matrix(pool) : z
            return seconds {
                switch part {
                case .forward: activation.forward(x, into: y, on: team)
                case .backward: activation.backward(x, x: y, into: x, output: z, on: team)
                case .gatedForward: activation.gatedForward(gate: x, up: y, into: z, on: team)
                case .gatedBackward:
                    activation.gatedBackward(
                        x, gate: y, up: z, intoGate: x, intoUp: y, output: output, on: team)
                }
            }
        }
        switch kernel {
        case .biasFill:
            let bias = pool.vector(columns)
            return seconds {
                team.split(rows, (y, bias)) { operands, rows, _ in
                    let (y, bias) = operands
                    for row in rows {
                        (y.base + row * y.columns).update(from: bias.base, count: y.columns)
                    }
                }
            }
        case .biasGradient:
            return seconds { BiasGradient.accumulate(x, into: pool.vector(columns), on: team) }
        case .residualAdd: return seconds { Residual.add(x, y, into: z, on: team) }
        case .widen:
            return seconds { HalfFormat.bf16.widen(halves(of: y), into: x, on: team) }
        case .round: return seconds { HalfFormat.bf16.narrow(x, into: halves(of: y), on: team) }
        case .dropout:
            let key = DropoutKey(seed: 1, step: 1, site: 1)
            return seconds { Dropout.apply(x, rate: 0.1, key: key, firstElement: 0, into: x, on: team) }
        case .rotary:
            // Heads of 64, or of all columns.
            let table = pool.matrix(rows, min(64, columns))
            return seconds { Rotary.rotate(x, table: table, length: rows, inverse: false, on: team) }
        case .fill: return seconds { Reductions.fill(x.vector, with: 0, on: team) }
        case .sumOfSquares:
            var sum = 0.0
            let time = seconds { sum = Reductions.sumOfSquares(x.vector, on: team) }
            precondition(!(sum < 0))
            return time
        default: preconditionFailure("\(kernel) is no elementwise kernel")
        }
    }

    private func norm(_ pool: OperandPool) -> Double {
        let (x, y, z) = (matrix(pool), matrix(pool), matrix(pool))
        let (weight, bias) = (pool.vector(columns), pool.vector(columns))
        let (mean, deviation) = (pool.vector(rows), pool.vector(rows))
        let (dWeight, dBias) = (pool.vector(columns), pool.vector(columns))
        return seconds {
            switch kernel {
            case .layerNormForward:
                LayerNorm.forward(
                    x, weight: weight, bias: bias, epsilon: 1e-5, into: y, mean: mean,
                    inverseDeviation: deviation, on: team)
            case .layerNormBackward:
                LayerNorm.backward(
                    y, x: x, weight: weight, mean: mean, inverseDeviation: deviation, addingTo: z,
                    dWeight: dWeight, dBias: dBias, on: team)
            case .rmsNormForward:
                RMSNorm.forward(
                    x, weight: weight, epsilon: 1e-5, into: y, inverseRoot: deviation, on: team)
            default:
                RMSNorm.backward(
                    y, x: x, weight: weight, inverseRoot: deviation, addingTo: z, dWeight: dWeight, on: team)
            }
        }
    }

    private func normOfSum(_ pool: OperandPool) -> Double {
        let (terms, sum, y) = (
            ResidualTerms(.full(matrix(pool)), matrix(pool)), StoredMatrix.full(matrix(pool)),
            StoredMatrix.full(matrix(pool))
        )
        let (weight, bias) = (pool.vector(columns), pool.vector(columns))
        let (mean, deviation) = (pool.vector(rows), pool.vector(rows))
        return seconds {
            if kernel == .layerNormOfSum {
                LayerNorm.forward(
                    sum, sumOf: terms, weight: weight, bias: bias, epsilon: 1e-5, into: y, mean: mean,
                    inverseDeviation: deviation, on: team)
            } else {
                RMSNorm.forward(
                    sum, sumOf: terms, weight: weight, epsilon: 1e-5, into: y, inverseRoot: deviation,
                    on: team)
            }
        }
    }

    private func embedding(_ pool: OperandPool) -> Double {
        let vocabulary = 256
        let (tokens, positions) = (pool.matrix(vocabulary, columns), pool.matrix(rows, columns))
        let y = matrix(pool)
        let ids = (0..<rows).map { Int32(($0 * 37) % vocabulary) }
        return ids.withUnsafeBufferPointer { ids in
            let ids = ids.baseAddress!
            if kernel == .embeddingForward {
                return seconds {
                    Embedding.forward(
                        tokens: ids, sequences: 1, tokenWeight: tokens, positionWeight: positions, into: y,
                        on: team)
                }
            }
            return seconds {
                Embedding.backward(
                    y, tokens: ids, sequences: 1, dTokenWeight: tokens, dPositionWeight: positions,
                    on: team)
            }
        }
    }

    private func crossEntropy(_ pool: OperandPool) -> Double {
        let logits = matrix(pool)
        let targets = (0..<rows).map { Int32(($0 * 37) % columns) }
        var sum = CrossEntropy.Sum(loss: 0, tokens: 0)
        return targets.withUnsafeBufferPointer { targets in
            seconds {
                sum +=
                    kernel == .crossEntropyForward
                    ? CrossEntropy.forward(logits, targets: targets.baseAddress!, on: team)
                    : CrossEntropy.forwardBackward(
                        logits, into: .full(logits), targets: targets.baseAddress!, on: team)
            }
        }
    }

    private func attention(_ pool: OperandPool) -> Double {
        let (x, y) = (matrix(pool), matrix(pool))
        let perRow = pool.vector(rows)
        switch kernel {
        case .softmaxForward: return seconds { Softmax.forward(x, visible: .past, logSumExp: perRow) }
        case .softmaxProbabilities:
            return seconds { Softmax.probabilities(x, visible: .past, logSumExp: perRow) }
        case .softmaxBackward:
            return seconds {
                Softmax.backward(x, visible: .past, probabilities: y, delta: perRow, scale: 0.125)
            }
        default: return seconds { Softmax.rowDots(x, y, into: perRow) }
        }
    }

    private func update(_ rule: some OptimizerRule, _ pool: OperandPool) -> Double {
        let (parameters, gradients) = (pool.vector(columns), pool.vector(columns))
        let state = pool.matrix(rule.stateSlots, rule.stateSlots == 0 ? 0 : columns)
        return seconds {
            rule.update(
                parameters: parameters, gradients: gradients, state: state, step: 10, learningRate: 1e-3,
                weightDecay: 0.1, gradientScale: 1, on: team)
        }
    }

    private func matrix(_ pool: OperandPool) -> Matrix { pool.matrix(rows, columns) }

    /// As many numbers of 16 bits in the first half of `matrix`, which is contiguous.
    private func halves(of matrix: Matrix) -> MatrixView<UInt16> {
        MatrixView(
            base: UnsafeMutableRawPointer(matrix.base).assumingMemoryBound(to: UInt16.self),
            rows: matrix.rows, columns: matrix.columns)
    }
}
