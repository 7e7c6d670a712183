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

    /// Saves the parameters of `decoder` behind step `step`, and returns the bytes of the files. Throws `.cannotCreate` or
    /// `.inputOutput`.
    static func save(_ decoder: Decoder, step: Int, in run: RunDirectory) throws -> Int {
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
            return state.count + size(of: "\(final)/model.safetensors")
        } catch {
            for leftover in [temporary, "\(run.checkpoints)/.tmp-latest"] {
                try? FileManager.default.removeItem(atPath: leftover)
            }
            throw error
        }
    }

    /// Loads the newest checkpoint of `run` into `decoder` and returns its step. Throws `.inputMissing` when the run
    /// saved none or a file of it is missing, `.badData` when it is damaged.
    public static func loadLatest(of run: RunDirectory, into decoder: Decoder) throws -> Int {
        let name = try latestName(of: run)
        let folder = "\(run.checkpoints)/\(name)"
        do {
            let state = try JSONFile.read(State.self, from: "\(folder)/state.json")
            guard state.schemaVersion == 1, state.step >= 0, state.parameters == decoder.layout.count else {
                throw LockstepError(
                    .badData,
                    "\(folder)/state.json: expected schema version 1, a step and \(decoder.layout.count) parameters, "
                        + "found version \(state.schemaVersion), step \(state.step) and \(state.parameters) parameters"
                )
            }
            try Safetensors.read(
                "\(folder)/model.safetensors", layout: decoder.layout, into: decoder.parameters)
            return state.step
        } catch let error as LockstepError {
            let others = names(in: run).filter { $0 != name }
            let remedy =
                others.isEmpty
                ? "the run has no other checkpoint; bring the file back, or train again"
                : "bring the file back, or write the name of another checkpoint into \(pointer(of: run)): "
                    + others.joined(separator: ", ")
            throw LockstepError(error.status, "\(error.description); \(remedy)")
        }
    }

    private static func size(of path: String) -> Int {
        var information = stat()
        return stat(path, &information) == 0 ? Int(information.st_size) : 0
    }

    private static func pointer(of run: RunDirectory) -> String { "\(run.checkpoints)/latest" }

    /// What `latest` says, which is the name of a folder beside it and nothing else.
    private static func latestName(of run: RunDirectory) throws -> String {
        let pointer = pointer(of: run)
        guard let text = FileManager.default.contents(atPath: pointer) else {
            throw LockstepError(
                .inputMissing,
                "\(pointer): there is no checkpoint; `lockstep train` saves one at the end of a run and every "
                    + "train.checkpoint_every steps")
        }
        let name = String(decoding: text.prefix(64), as: UTF8.self)
            .trimmingCharacters(in: .whitespacesAndNewlines)
        guard isName(name) else {
            let known = names(in: run)
            throw LockstepError(
                .badData,
                "\(pointer): expected the name of a checkpoint beside it"
                    + (known.isEmpty
                        ? ", such as step-100"
                        : "; write one of these into it: \(known.joined(separator: ", "))"))
        }
        return name
    }

    private static func isName(_ name: String) -> Bool {
        name.hasPrefix("step-") && Int(name.dropFirst("step-".count)).map { $0 >= 0 } ?? false
    }

    /// The checkpoints of a run, oldest first.
    private static func names(in run: RunDirectory) -> [String] {
        let entries = (try? FileManager.default.contentsOfDirectory(atPath: run.checkpoints)) ?? []
        return entries.filter(isName).sorted { $0.count == $1.count ? $0 < $1 : $0.count < $1.count }
    }
}
