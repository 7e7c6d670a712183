import Foundation
import Kernels
import Testing

/// Parameters that PyTorch's optimizers reach; written by `Fixtures/optimizers.py`.
struct OptimizerFixture: Decodable {
    struct Options: Decodable {
        let lr: Double
        let betas: [Double]?
        let eps: Double?
        let alpha: Double?
        let momentum: Double?
        let nesterov: Bool?
        let weightDecay: Double?
    }

    struct Case: Decodable, CustomTestStringConvertible {
        let name: String
        let options: Options
        /// Keyed by the number of steps taken.
        let parameters: [String: [Double]]

        var testDescription: String { "\(name) \(options)" }

        /// Leaves to the rule's own defaults what PyTorch's defaults were used for.
        var rule: any OptimizerRule {
            switch name {
            case "sgd": SGD(momentum: options.momentum ?? 0, nesterov: options.nesterov ?? false)
            case "adam":
                options.betas == nil
                    ? Adam()
                    : Adam(beta1: options.betas![0], beta2: options.betas![1], epsilon: options.eps ?? 1e-8)
            case "adamw":
                options.betas == nil ? AdamW() : AdamW(beta1: options.betas![0], beta2: options.betas![1])
            case "rmsprop":
                options.alpha == nil
                    ? RMSProp()
                    : RMSProp(alpha: options.alpha!, epsilon: options.eps!, momentum: options.momentum!)
            default: options.eps == nil ? AdaGrad() : AdaGrad(epsilon: options.eps!)
            }
        }
    }

    let cases: [Case]

    static let all: [Case] = {
        let file = URL(filePath: #filePath).deletingLastPathComponent().appending(
            path: "Fixtures/optimizers.json")
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        let fixture = try? decoder.decode(OptimizerFixture.self, from: Data(contentsOf: file))
        return fixture?.cases ?? []
    }()
}

@Suite struct OptimizerTests {
    private static let count = 37

    private func initialParameters() -> Vector {
        let parameters = makeVector(Self.count)
        for i in 0..<Self.count { parameters[i] = Float((i * 37 + 11) % 64 - 32) / 32 }
        return parameters
    }

    private func setGradients(_ gradients: Vector, step: Int) {
        for i in 0..<Self.count {
            let scale = Float(sign: .plus, exponent: 2 - i % 16, significand: 1)
            gradients[i] = Float((i * 7919 + step * 104_729) % 2048 - 1024) / 1024 * scale
        }
    }

    /// State rows that do not follow one another closely, as in an arena of many tensors.
    private func makeState(_ rule: any OptimizerRule) -> Matrix {
        let state = makeMatrix(rule.stateSlots, Self.count, gap: 11)
        for slot in 0..<rule.stateSlots {
            for i in 0..<Self.count { state.base[slot * state.stride + i] = 0 }
        }
        return state
    }

    private func run(
        _ rule: any OptimizerRule, steps: Int, learningRate: Double, weightDecay: Double,
        gradientScale: Float = 1,
        observe: (Int, Vector) -> Void
    ) {
        let parameters = initialParameters()
        let gradients = makeVector(Self.count)
        let state = makeState(rule)
        for step in 1...steps {
            setGradients(gradients, step: step)
            Reductions.scale(gradients, by: 1 / gradientScale)
            rule.update(
                parameters: parameters, gradients: gradients, state: state, step: step,
                learningRate: learningRate,
                weightDecay: weightDecay, gradientScale: gradientScale)
            observe(step, parameters)
        }
        #expect(gapsAreIntact(state))
    }

    @Test func `fixtures are there`() {
        #expect(OptimizerFixture.all.count == 13)
    }

    @Test(arguments: OptimizerFixture.all)
    func `equals PyTorch over 100 steps`(fixture: OptimizerFixture.Case) {
        var compared = 0
        run(
            fixture.rule, steps: 100, learningRate: fixture.options.lr,
            weightDecay: fixture.options.weightDecay ?? 0
        ) { step, parameters in
            guard let expected = fixture.parameters[String(step)] else { return }
            #expect(elementError(doubles(parameters), expected) < 1e-6, "after \(step) steps")
            compared += 1
        }
        #expect(compared == 3)
    }

    @Test(arguments: OptimizerFixture.all)
    func `the gradient's scale is applied as it is read`(fixture: OptimizerFixture.Case) {
        func end(_ scale: Float) -> [Double] {
            var values: [Double] = []
            run(
                fixture.rule, steps: 5, learningRate: fixture.options.lr, weightDecay: 0.1,
                gradientScale: scale
            ) { values = doubles($1) }
            return values
        }
        // A power of two loses no bits.
        #expect(end(0.125) == end(1))
    }

    @Test func `slots of state`() {
        #expect(SGD().stateSlots == 0)
        #expect(SGD(momentum: 0.9).stateSlots == 1)
        #expect(Adam().stateSlots == 2 && AdamW().stateSlots == 2)
        #expect(RMSProp().stateSlots == 1 && RMSProp(momentum: 0.5).stateSlots == 2)
        #expect(AdaGrad().stateSlots == 1)
    }

    @Test(arguments: OptimizerFixture.all)
    func `parameters past the end stay`(fixture: OptimizerFixture.Case) {
        let rule = fixture.rule
        let parameters = makeVector(40)
        let before = doubles(parameters)
        let gradients = makeVector(21, seed: 2)
        let state = makeMatrix(rule.stateSlots, 21)
        for index in 0..<(rule.stateSlots * 21) { state.base[index] = 0 }
        rule.update(
            parameters: parameters.slice(3..<24), gradients: gradients, state: state, step: 1,
            learningRate: 0.1,
            weightDecay: 0, gradientScale: 1)
        let after = doubles(parameters)
        #expect(after[..<3] == before[..<3] && after[24...] == before[24...])
        #expect(zip(after[3..<24], before[3..<24]).allSatisfy { $0 != $1 })
    }
}
