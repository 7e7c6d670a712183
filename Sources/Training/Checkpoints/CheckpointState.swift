import Configs
import Foundation
import Ledger

/// Where a run stood when a checkpoint was taken: `state.json`.
package struct CheckpointState: Codable, Equatable {
    static let name = "state.json"

    var schemaVersion = 1
    /// Optimizer steps done. With the configuration it gives the learning rate, and with the seed the masks of dropout.
    var step: Int
    /// Position of the next sample in the training split's endless order: behind those that these steps have taken, and
    /// those that were passed over when the run went back to a checkpoint.
    var dataCursor: Int
    var seed: UInt64
    /// N, in elements.
    var parameters: Int
    var optimizer: String
    /// What its state holds of each parameter; names of the tensors in `optimizer-R-of-P.safetensors`.
    var optimizerState: [String]
    /// Keys that a resumed run must have, with their values as a configuration has them.
    var config: [String: String]
    /// Of the file that `data.path` named, and of the tokenizer's file, or its name when it has none.
    var corpusSHA256: String
    var tokenizerSHA256: String
    /// Of the run that saved it; another may have others.
    var ranks: Int
    var threadsPerRank: Int
    var blasCore: String
    /// Of the evaluations up to `step`; nil in checkpoints of older versions, which count as without any.
    var validation: ValidationHistory?
    /// Behind `step`; nil unless activations are in fp16.
    var lossScale: LossScale?

    private enum CodingKeys: String, CodingKey {
        case step, seed, parameters, optimizer, config, ranks, validation
        case schemaVersion = "schema_version"
        case dataCursor = "data_cursor"
        case optimizerState = "optimizer_state"
        case corpusSHA256 = "corpus_sha256"
        case tokenizerSHA256 = "tokenizer_sha256"
        case threadsPerRank = "threads_per_rank"
        case blasCore = "blas_core"
        case lossScale = "loss_scale"
    }

    /// The most of steps that a configuration can have, and of samples that are passed over: their positions fit 64 bits.
    private static let mostSteps = Int(Int32.max)
    private static let mostPassedOver = 1 << 60

    /// Whether the data cursor may stand where it does when a step takes `globalBatch` samples.
    func isInOrder(globalBatch: Int) -> Bool {
        let (samples, overflows) = step.multipliedReportingOverflow(by: globalBatch)
        let passedOver = dataCursor &- samples
        return !overflows && (0...Self.mostPassedOver).contains(passedOver)
            && passedOver.isMultiple(of: globalBatch)
    }

    /// Reads the state of the checkpoint in `folder`. Throws `.inputMissing`, or `.badData` when it contradicts itself.
    static func read(from folder: String, step: Int) throws -> CheckpointState {
        let path = "\(folder)/\(name)"
        let state = try JSONFile.read(CheckpointState.self, from: path)
        guard state.schemaVersion == 1, state.step == step, (1...mostSteps).contains(step),
            state.parameters >= 1,
            state.dataCursor >= 0, (1...1 << 24).contains(state.ranks), state.optimizerState.count <= 8
        else {
            throw LockstepError(
                .badData,
                "\(path): expected schema version 1, step \(step), and counts above 0, found version "
                    + "\(state.schemaVersion), step \(state.step), \(state.parameters) parameters, "
                    + "\(state.ranks) ranks")
        }
        guard state.validation?.isInOrder(at: step) ?? true else {
            throw LockstepError(
                .badData,
                "\(path): 'validation' tells of evaluations that there cannot have been up to step \(step)")
        }
        guard state.lossScale?.isInOrder(at: step) ?? true else {
            throw LockstepError(
                .badData,
                "\(path): 'loss_scale' must be a power of two from 1 on, with 0 to "
                    + "\(LossScale.growthInterval - 1) of the \(step) steps since it changed")
        }
        return state
    }
}

extension OptimizerConfig {
    /// What the optimizer keeps of each parameter, in the order of its rule's slots and in PyTorch's words.
    var stateNames: [String] {
        let buffer = momentum > 0 ? ["momentum_buffer"] : []
        return switch name {
        case .sgd: buffer
        case .adam, .adamw: ["exp_avg", "exp_avg_sq"]
        case .rmsprop: ["square_avg"] + buffer
        case .adagrad: ["sum"]
        }
    }
}
