import Kernels
import Synchronization
import Testing

@Suite struct ThreadTeamTests {
    static let teams = [2, 3, 5]

    @Test(
        arguments: [1, 2, 3, 5],
        [(0, 1), (1, 1), (2, 1), (3, 1), (1000, 1), (63, 16), (64, 64), (65, 64), (255, 64), (1000, 64)])
    func `ranges cover everything once`(threads: Int, extent: (Int, Int)) throws {
        let (count, grain) = extent
        let team = try ThreadTeam(threads: threads)
        let visits = makeVector(max(count, 1))
        for index in 0..<visits.count { visits[index] = 0 }
        let members = makeVector(threads)
        for member in 0..<threads { members[member] = 0 }
        for _ in 0..<20 {
            team.split(count, grain: grain, (visits, members, grain)) { shared, range, member in
                let (visits, members, grain) = shared
                precondition(range.lowerBound % grain == 0 && !range.isEmpty)
                for index in range { visits[index] += 1 }
                members[member] += 1
            }
        }
        #expect((0..<count).allSatisfy { visits[$0] == 20 })
        let used = (0..<threads).count { members[$0] > 0 }
        #expect(used == min(threads, count > 0 ? max(1, count / grain) : 0))
    }

    @Test(
        arguments: [
            (2, 720, 128, [384, 336]), (2, 1000, 64, [512, 488]), (3, 1000, 64, [320, 320, 360]),
            // The nearest cuts would leave the last member less than a grain.
            (3, 255, 64, [64, 64, 127]), (3, 130, 64, [64, 66, 0]), (2, 63, 64, [63, 0]), (2, 0, 64, [0, 0]),
        ])
    func `shares are as equal as grains allow`(threads: Int, count: Int, grain: Int, lengths: [Int]) throws {
        let team = try ThreadTeam(threads: threads)
        #expect((0..<threads).map { team.share(of: count, grain: grain, for: $0).count } == lengths)
    }

    @Test func `members work at the same time`() throws {
        let team = try ThreadTeam(threads: 3)
        let arrived = Arrivals()
        team.split(3, arrived) { arrived, _, _ in
            arrived.count.add(1, ordering: .sequentiallyConsistent)
            // Ends only when the others have come, too.
            while arrived.count.load(ordering: .sequentiallyConsistent) < 3 {}
        }
        #expect(arrived.count.load(ordering: .sequentiallyConsistent) == 3)
    }

    @Test func `a team gives the CPUs back`() throws {
        let before = Affinity.current.count
        for threads in 1...3 { _ = try ThreadTeam(threads: threads).count }
        #expect(Affinity.current.count == before)
    }

    /// Bit for bit.
    @Test(arguments: teams) func `row kernels do not depend on the number of threads`(threads: Int) throws {
        let team = try ThreadTeam(threads: threads)
        for (rows, columns) in [(1, 1), (3, 17), (70, 129), (2, 16), (19, 333), (700, 129)] {
            func same(_ kernel: (Matrix, Matrix, Vector, Vector, ThreadTeam) -> Void) -> Bool {
                func run(_ team: ThreadTeam) -> [Float] {
                    let (x, y) = (
                        makeMatrix(rows, columns, gap: 3, seed: 1), makeMatrix(rows, columns, seed: 2)
                    )
                    let (v, w) = (makeVector(columns, seed: 3), makeVector(columns, seed: 4))
                    kernel(x, y, v, w, team)
                    return [x, y].flatMap { matrix in
                        (0..<rows).flatMap { row in
                            (0..<columns).map { matrix.base[row * matrix.stride + $0] }
                        }
                    } + [v, w].flatMap { vector in (0..<columns).map { vector[$0] } }
                }
                return run(team).map(\.bitPattern) == run(.alone).map(\.bitPattern)
            }
            let statistics = (makeVector(rows, seed: 5), makeVector(rows, seed: 6))
            let gain = makeVector(columns, seed: 8)
            let tokens = (0..<rows).map { Int32($0 * 7 % 5) }
            let targets = (0..<rows).map { $0 % 4 == 1 ? -1 : Int32($0 * 7 % columns) }
            #expect(same { x, y, _, _, team in Residual.add(x, y, into: y, on: team) })
            for activation in Activation.allCases {
                #expect(same { x, y, _, _, team in activation.forward(x, into: y, on: team) })
                #expect(
                    same { x, y, _, _, team in
                        activation.backward(x, x: copy(y), into: x, output: y, on: team)
                    })
                #expect(
                    same { x, y, _, _, team in activation.gatedForward(gate: x, up: y, into: y, on: team) })
                #expect(
                    same { x, y, _, _, team in
                        activation.gatedBackward(
                            x, gate: y, up: copy(y), intoGate: x, intoUp: y, output: copy(y), on: team)
                    })
                #expect(
                    same { x, y, _, _, team in
                        activation.gatedBackward(
                            x, gate: copy(x), up: copy(y), intoGate: x, intoUp: copy(y), output: y, on: team)
                    })
            }
            #expect(
                same { x, y, v, _, team in
                    RMSNorm.forward(
                        x, weight: v, epsilon: 1e-5, into: y, inverseRoot: statistics.0, on: team)
                })
            #expect(
                same { x, y, v, w, team in
                    RMSNorm.backward(
                        x, x: y, weight: v, inverseRoot: statistics.0, addingTo: x, dWeight: w, on: team)
                })
            let angles = makeMatrix(rows, columns, seed: 9)
            if columns % 2 == 0 {
                #expect(
                    same { x, _, _, _, team in
                        Rotary.rotate(x, table: angles, length: rows, inverse: false, on: team)
                    })
            }
            #expect(same { x, _, v, _, team in BiasGradient.accumulate(x, into: v, on: team) })
            let key = DropoutKey(seed: 1, step: 2, site: 3)
            #expect(
                same { x, y, _, _, team in
                    Dropout.apply(x, rate: 0.3, key: key, firstElement: 9, rowLength: 400, into: y, on: team)
                })
            #expect(
                same { x, y, v, w, team in
                    LayerNorm.forward(
                        x, weight: v, bias: w, epsilon: 1e-5, into: y, mean: statistics.0,
                        inverseDeviation: statistics.1, on: team)
                })
            #expect(
                same { x, y, v, w, team in
                    LayerNorm.backward(
                        x, x: y, weight: gain, mean: statistics.0, inverseDeviation: statistics.1,
                        addingTo: x, dWeight: w, dBias: v, on: team)
                })
            #expect(
                same { x, y, v, w, team in
                    LayerNorm.forward(
                        .full(x), sumOf: ResidualTerms(.full(x), y), weight: v, bias: w, epsilon: 1e-5,
                        into: .full(y), mean: statistics.0, inverseDeviation: statistics.1, on: team)
                })
            let vocabulary = makeMatrix(5, columns, seed: 7)
            tokens.withUnsafeBufferPointer { tokens in
                #expect(
                    same { x, y, _, _, team in
                        Embedding.forward(
                            tokens: tokens.baseAddress!, sequences: 1, tokenWeight: vocabulary,
                            positionWeight: y, into: x, on: team)
                    })
                #expect(
                    same { x, y, v, _, team in
                        let dToken = makeMatrix(5, columns, seed: 8)
                        Embedding.backward(
                            x, tokens: tokens.baseAddress!, sequences: 1, dTokenWeight: dToken,
                            dPositionWeight: y, on: team)
                        for column in 0..<columns { v[column] = dToken.base[column] }
                    })
            }
            targets.withUnsafeBufferPointer { targets in
                for trains in [false, true] {
                    #expect(
                        same { x, _, v, _, team in
                            let sum =
                                trains
                                ? CrossEntropy.forwardBackward(
                                    x, into: .full(x), targets: targets.baseAddress!, on: team)
                                : CrossEntropy.forward(x, targets: targets.baseAddress!, on: team)
                            v[0] = Float(sum.loss)
                        })
                }
            }
        }
    }

    @Test(arguments: teams, [1, 100, 4096, 4097, 20_000, 300_001])
    func `kernels over whole arenas do not depend on the number of threads`(threads: Int, count: Int) throws {
        let team = try ThreadTeam(threads: threads)
        let x = makeVector(count)
        #expect(Reductions.sumOfSquares(x, on: team) == Reductions.sumOfSquares(x))
        let rules: [any OptimizerRule] = [
            SGD(), SGD(momentum: 0.9), Adam(), AdamW(), RMSProp(momentum: 0.5), AdaGrad(),
        ]
        for rule in rules {
            func updated(_ team: ThreadTeam) -> [Float] {
                let parameters = makeVector(count, seed: 2)
                rule.update(
                    parameters: parameters, gradients: x,
                    state: makeMatrix(rule.stateSlots, rule.stateSlots == 0 ? 0 : count, seed: 3, scale: 0),
                    step: 1, learningRate: 0.1, weightDecay: 0.1, gradientScale: 0.5, on: team)
                return (0..<count).map { parameters[$0] }
            }
            #expect(updated(team) == updated(.alone))
        }
        Reductions.fill(x, with: 3, on: team)
        #expect((0..<count).allSatisfy { x[$0] == 3 })
    }

    @Test(arguments: teams) func `products are split`(threads: Int) throws {
        let team = try ThreadTeam(threads: threads)
        let (split, whole) = (MatMul(backend: OpenBLAS(), team: team), MatMul(backend: OpenBLAS()))
        for (m, n, k) in [
            (1, 1, 1), (65, 3, 20), (200, 130, 70), (130, 200, 270), (512, 384, 400), (70, 1000, 130),
        ] {
            let (x, weight, bias) = (
                makeMatrix(m, k, gap: 3), makeMatrix(n, k, seed: 2), makeVector(n, seed: 3)
            )
            func error(_ shape: (Int, Int), _ product: (MatMul, Matrix) -> Void) -> Double {
                let results = [split, whole].map { matmul in
                    let result = makeMatrix(shape.0, shape.1, gap: 5, seed: 4)
                    product(matmul, result)
                    return result
                }
                return relativeError(results[0], ReferenceMatrix(results[1]))
            }
            let y = makeMatrix(m, n, seed: 5)
            #expect(error((m, n)) { $0.forward(x, weight: weight, bias: bias, scale: 2, into: $1) } < 1e-6)
            #expect(error((m, k)) { $0.inputGradient(y, weight: weight, accumulate: true, into: $1) } < 1e-6)
            #expect(error((n, k)) { $0.weightGradient(y, x, into: $1) } < 1e-6)
        }
        #expect(split.flops == whole.flops)
    }

    /// To the bit, with weights that the team has packed and without.
    @Test(arguments: teams, TilePrecision.allCases)
    func `products of tiles do not depend on the number of threads`(
        threads: Int, precision: TilePrecision
    ) throws {
        let team = try ThreadTeam(threads: threads)
        for instructions in tileInstructions {
            // Whole, by rows, by columns, cut in depth; the second too small for tiles.
            for (m, n, k) in [
                (65, 40, 47), (600, 400, 20), (512, 190, 200), (70, 1000, 130), (300, 40, 1100),
            ] {
                let (x, y) = (makeMatrix(m, k, gap: 3), makeMatrix(m, n, seed: 2))
                let (matrix, bias) = (makeMatrix(n, k, seed: 3), makeVector(n, seed: 4))
                func results(_ team: ThreadTeam) -> [UInt32] {
                    // Each of the three products may be the one that needs most.
                    let largest = max(m, n, k)
                    let matmul = MatMul(
                        backend: tileMatMul(
                            precision, instructions, m: largest, n: largest, k: largest, threads: team.count),
                        team: team)
                    let bytes = PackedWeight.byteCount(n: n, k: k, precision: precision)
                    let weight = Weight(
                        matrix,
                        packed: PackedWeight(n: n, k: k, precision: precision, in: packedStorage(bytes)))
                    matmul.pack(weight)
                    let forward = makeMatrix(m, n, gap: 5, seed: 5)
                    matmul.forward(x, weight: weight, bias: bias, into: forward)
                    let unpacked = makeMatrix(m, n, seed: 6)
                    matmul.forward(x, weight: matrix, bias: bias, scale: 2, into: unpacked)
                    let (dx, dw) = (makeMatrix(m, k, seed: 7), makeMatrix(n, k, gap: 1, seed: 8))
                    matmul.inputGradient(y, weight: weight, into: dx)
                    matmul.weightGradient(y, x, into: dw)
                    return [forward, unpacked, dx, dw].flatMap { result in
                        (0..<result.rows).flatMap { row in
                            (0..<result.columns).map { result.base[row * result.stride + $0].bitPattern }
                        }
                    }
                }
                #expect(results(team) == results(.alone), "\(instructions), \(m) × \(n) × \(k)")
            }
        }
    }
}

private final class Arrivals: Sendable {
    let count = Atomic<Int>(0)
}
