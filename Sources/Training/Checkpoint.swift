import Configs
import Foundation
import Ledger
import Transformer

/// The parameters of a run at one step: `checkpoints/step-N/` with `model.safetensors` and `state.json`, and the name of
/// the newest in `checkpoints/latest`.
///
/// A checkpoint appears whole or not at all: it is written under a temporary name, synced, and renamed.
public enum Checkpoint {
    struct State: Codable {
        var schemaVersion = 1
        var step: Int
        var parameters: Int

        private enum CodingKeys: String, CodingKey {
            case schemaVersion = "schema_version"
            case step, parameters
        }
    }

    /// Saves the parameters of `decoder` behind step `step`. Throws `.cannotCreate` or `.inputOutput`.
    static func save(_ decoder: Decoder, step: Int, in run: RunDirectory) throws {
        let name = "step-\(step)"
        let final = "\(run.checkpoints)/\(name)"
        let temporary = "\(run.checkpoints)/.tmp-\(name)-\(UUID().uuidString)"
        do {
            try FileManager.default.createDirectory(atPath: temporary, withIntermediateDirectories: true)
        } catch {
            throw LockstepError(.cannotCreate, "\(temporary): \(error.localizedDescription)")
        }
        do {
            try Safetensors.write(
                decoder.parameters, layout: decoder.layout, to: "\(temporary)/model.safetensors")
            let state = try JSONEncoder().encode(State(step: step, parameters: decoder.layout.count))
            try FileWriter.write(state, to: "\(temporary)/state.json")
            try FileWriter.syncDirectory(temporary)
            try FileWriter.rename(temporary, to: final)
            try FileWriter.write(Data(name.utf8), to: "\(run.checkpoints)/.tmp-latest")
            try FileWriter.rename("\(run.checkpoints)/.tmp-latest", to: "\(run.checkpoints)/latest")
            try FileWriter.syncDirectory(run.checkpoints)
        } catch {
            try? FileManager.default.removeItem(atPath: temporary)
            throw error
        }
    }

    /// Loads the newest checkpoint of `run` into `decoder` and returns its step. Throws `.inputMissing` when the run
    /// saved none, `.badData` when it is damaged.
    public static func loadLatest(of run: RunDirectory, into decoder: Decoder) throws -> Int {
        let pointer = "\(run.checkpoints)/latest"
        guard let name = try? String(contentsOfFile: pointer, encoding: .utf8) else {
            throw LockstepError(
                .inputMissing,
                "\(pointer): there is no checkpoint; `lockstep train` saves one at the end of a run and every "
                    + "train.checkpoint_every steps")
        }
        let folder = "\(run.checkpoints)/\(name.trimmingCharacters(in: .whitespacesAndNewlines))"
        let statePath = "\(folder)/state.json"
        guard let data = FileManager.default.contents(atPath: statePath) else {
            throw LockstepError(.inputMissing, "\(statePath): cannot be read, but \(pointer) names it")
        }
        guard let state = try? JSONDecoder().decode(State.self, from: data), state.schemaVersion == 1 else {
            throw LockstepError(.badData, "\(statePath): expected a step and a parameter count as JSON")
        }
        try Safetensors.read(
            "\(folder)/model.safetensors", layout: decoder.layout, into: decoder.parameters)
        return state.step
    }
}
