import CTiles

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// Cross-entropy of softmax(logits) against target tokens.
public enum CrossEntropy {
    /// A target of this value takes no part in the loss.
    public static let ignoredTarget: Int32 = -1

    /// A loss that is not yet divided by its number of tokens.
    public struct Sum: Sendable, Equatable {
        /// Σ -log p(target), in nats.
        public var loss: Double
        /// Targets that were not ignored.
        public var tokens: Int

        public init(loss: Double = 0, tokens: Int = 0) {
            self.loss = loss
            self.tokens = tokens
        }

        public static func += (sum: inout Sum, other: Sum) {
            sum.loss += other.loss
            sum.tokens += other.tokens
        }
    }

    /// Loss of logits[t,V] against targets[t]. Optionally writes the most likely token of each row, of equal ones the
    /// first, to predictions[t]; rows whose target is ignored keep what is there.
    public static func forward(
        _ logits: Matrix, targets: UnsafePointer<Int32>, predictions: UnsafeMutablePointer<Int32>? = nil,
        on team: ThreadTeam = .alone
    ) -> Sum {
        team.sum(logits.rows, grain: 1, zero: Sum(), (logits, targets, predictions), adding: { $0 += $1 }) {
            operands, rows in
            forward(
                rows: operands.0.rows(rows), targets: operands.1 + rows.lowerBound,
                predictions: operands.2.map { $0 + rows.lowerBound })
        }
    }

    private static func forward(
        rows logits: Matrix, targets: UnsafePointer<Int32>, predictions: UnsafeMutablePointer<Int32>?
    ) -> Sum {
        var sum = Sum()
        for row in 0..<logits.rows where targets[row] != ignoredTarget {
            let values = logits.base + row &* logits.stride
            if let predictions {
                predictions[row] = Int32(
                    Reductions.indexOfLargest(Vector(base: values, count: logits.columns)))
            }
            let targetLogit = values[column(targets[row], logits)]
            let largest = maximum(values, logits.columns)
            @inline(always) func power(_ offset: Int, _ lanes: Int) -> Lanes {
                lockstep_prefetch(values + (logits.stride &+ offset))
                return (load(values + offset, lanes, fill: -.infinity) - largest).exponentialUpTo88
            }
            sum += loss(of: targetLogit, largest: largest, total: sumLanes(logits.columns, power))
        }
        return sum
    }

    /// Loss as `forward`, and replaces logits[t,V] by the gradient of the summed loss: softmax(logits) minus one at
    /// the target; zero in rows whose target is ignored.
    ///
    /// With `labelSmoothing` ε the target has 1 - ε of the weight and every class ε/V of it besides, in loss and gradient
    /// (Szegedy et al. 2016; `torch.nn.CrossEntropyLoss`). The gradient is multiplied by `gradientScale`, the loss is not.
    ///
    /// - Parameter gradient: where it is written: the logits themselves or, rounded, `firstHalves` of their rows.
    public static func forwardBackward(
        _ logits: Matrix, into gradient: StoredMatrix, targets: UnsafePointer<Int32>,
        labelSmoothing: Double = 0, gradientScale: Float = 1, on team: ThreadTeam = .alone
    ) -> Sum {
        func all<Number: LaneNumber>(_ gradient: MatrixView<Number>) -> Sum {
            precondition(
                UnsafeRawPointer(gradient.base) == UnsafeRawPointer(logits.base)
                    && gradient.hasShape(of: logits)
                    && gradient.stride * MemoryLayout<Number>.stride == logits.stride * 4,
                "a gradient that is not in the place of its logits")
            return team.sum(
                logits.rows, grain: 1, zero: Sum(),
                (logits, gradient, targets, labelSmoothing, gradientScale), adding: { $0 += $1 }
            ) { operands, rows in
                forwardBackward(
                    rows: operands.0.rows(rows), into: operands.1.rows(rows),
                    targets: operands.2 + rows.lowerBound, smoothing: operands.3, scale: operands.4)
            }
        }
        return switch gradient {
        case .full(let gradient): all(gradient)
        case .half(let gradient, .bf16): all(gradient.of(BF16.self))
        case .half(let gradient, .fp16): all(gradient.of(FP16.self))
        }
    }

    private static func forwardBackward<Number: LaneNumber>(
        rows logits: Matrix, into gradient: MatrixView<Number>, targets: UnsafePointer<Int32>,
        smoothing: Double, scale: Float
    ) -> Sum {
        var sum = Sum()
        let classShare = scale * Float(smoothing / Double(logits.columns))
        for row in 0..<logits.rows {
            let values = logits.base + row &* logits.stride
            let gradients = gradient.base + row &* gradient.stride
            guard targets[row] != ignoredTarget else {
                @inline(always) func clear(_ offset: Int, _ lanes: Int) {
                    Number.store(.zero, gradients + offset, lanes)
                }
                forEachLanes(logits.columns, clear)
                continue
            }
            let target = column(targets[row], logits)
            let targetLogit = values[target]
            let largest = maximum(values, logits.columns)
            if smoothing > 0 {
                @inline(always) func below(_ offset: Int, _ lanes: Int) -> Lanes {
                    load(values + offset, lanes, fill: largest) - largest
                }
                let mean = Double(sumLanes(logits.columns, below)) / Double(logits.columns)
                sum.loss += smoothing * (Double(targetLogit) - Double(largest) - mean)
            }
            @inline(always) func exponentiate(_ offset: Int, _ lanes: Int) -> Lanes {
                // The next row comes while the core is busy with this one: from memory a fifth less (Zen 3).
                lockstep_prefetch(values + (logits.stride &+ offset))
                let power = (load(values + offset, lanes, fill: -.infinity) - largest).exponentialUpTo88
                store(power, values + offset, lanes)
                return power
            }
            let total = sumLanes(logits.columns, exponentiate)
            let inverse = scale / total
            let ofTarget = Lanes(
                repeating: values[target] * inverse - classShare - scale * Float(1 - smoothing))
            // Numbers of 16 bits are written behind those that are still to be read.
            @inline(always) func normalize(_ offset: Int, _ lanes: Int) {
                Number.store(
                    load(values + offset, lanes) * inverse - classShare, gradients + offset, lanes)
            }
            forEachLanes(logits.columns, normalize)
            Number.store(ofTarget, gradients + target, 1)
            sum += loss(of: targetLogit, largest: largest, total: total)
        }
        return sum
    }

    @inline(always)
    private static func column(_ target: Int32, _ logits: Matrix) -> Int {
        precondition(
            target >= 0 && target < logits.columns, "target \(target) outside of \(logits.columns) classes")
        return Int(target)
    }

    @inline(always)
    private static func loss(of targetLogit: Float, largest: Float, total: Float) -> Sum {
        Sum(loss: log(Double(total)) + (Double(largest) - Double(targetLogit)), tokens: 1)
    }
}
