import Configs
import Foundation
import Ledger

/// What a checkpoint consists of: `manifest.json`, which appears last. Any change of any byte of the checkpoint, of the
/// manifest itself too, is a contradiction to it.
package struct Manifest: Codable, Equatable {
    package struct File: Codable, Equatable {
        package var name: String
        package var bytes: Int
        /// In hexadecimal digits.
        package var sha256: String

        package init(name: String, bytes: Int, sha256: String) {
            self.name = name
            self.bytes = bytes
            self.sha256 = sha256
        }
    }

    package static let name = "manifest.json"
    private static let largest = 16 << 20

    private(set) var schemaVersion = 1
    package let step: Int
    package let files: [File]
    /// Of this manifest as it is written with an empty text here.
    private(set) var sha256 = ""

    private enum CodingKeys: String, CodingKey {
        case step, files, sha256
        case schemaVersion = "schema_version"
    }

    package init(step: Int, files: [File]) throws {
        self.step = step
        self.files = files
        sha256 = try contentDigest()
    }

    /// As it is written.
    package func encoded() throws -> Data { try JSONFile.bytes(of: self) }

    /// Reads the manifest of the checkpoint in `folder`, which is of step `step`. Throws `.inputMissing` when there is none,
    /// `.badData` when it is not as it was written.
    static func read(from folder: String, step: Int) throws -> Manifest {
        let path = "\(folder)/\(name)"
        func bad(_ text: String) -> LockstepError { LockstepError(.badData, "\(path): \(text)") }
        let file = try InputFile(path)
        guard file.size <= largest else { throw bad("\(file.size) bytes; a manifest has at most \(largest)") }
        var text = Data(count: file.size)
        try text.withUnsafeMutableBytes { try file.read(at: 0, into: $0) }
        guard let manifest = try? JSONDecoder().decode(Manifest.self, fromUntrusted: text) else {
            throw bad("not the JSON of a manifest; the checkpoint is damaged")
        }
        guard manifest.schemaVersion == 1 else {
            throw bad("schema version \(manifest.schemaVersion); this program reads version 1")
        }
        guard try manifest.contentDigest() == manifest.sha256, try manifest.encoded() == text else {
            throw bad(
                "its content is not what its SHA-256 \(excerpt(manifest.sha256, limit: 64)) was made of; the checkpoint is damaged"
            )
        }
        guard manifest.step == step else { throw bad("of step \(manifest.step), expected \(step)") }
        return manifest
    }

    /// Reads the file `file` of the checkpoint in `folder`. Throws `.inputMissing` or `.badData` when it is not what was
    /// written.
    static func verify(_ file: File, in folder: String) throws {
        let path = "\(folder)/\(file.name)"
        guard file.name.first?.isLetter == true, file.name.utf8.count <= 80,
            file.name.allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber || "-_.".contains($0)) })
        else {
            throw LockstepError(
                .badData,
                "\(folder)/\(name): expected the names of files beside it, found \(excerpt(file.name))")
        }
        let input = try InputFile(path)
        guard input.size == file.bytes else {
            throw LockstepError(
                .badData, "\(path): \(input.size) bytes, expected \(file.bytes); it is damaged")
        }
        let digest = try Digest.text(of: input)
        guard digest == file.sha256 else {
            throw LockstepError(
                .badData,
                "\(path): its SHA-256 begins with \(digest.prefix(16)), expected \(excerpt(file.sha256, limit: 16)); it is damaged"
            )
        }
    }

    /// Throws `.badData` when the checkpoint in `folder` has other files than one of `state`.
    func requireFiles(of state: CheckpointState, in folder: String) throws {
        let optimizers = state.optimizerState.isEmpty ? 0 : state.ranks
        let names = Set(files.map(\.name))
        let isWhole =
            names.count == files.count && names.count == 2 + optimizers
            && names.isSuperset(of: [CheckpointState.name, CheckpointFile.modelName])
            && (0..<optimizers).allSatisfy {
                names.contains(OptimizerState.fileName(rank: $0, ranks: state.ranks))
            }
        guard isWhole else {
            throw LockstepError(
                .badData,
                "\(folder)/\(Self.name): names \(files.count) files; expected \(CheckpointState.name), "
                    + "\(CheckpointFile.modelName) and \(optimizers) of the optimizer's state, each once")
        }
    }

    private func contentDigest() throws -> String {
        var content = self
        content.sha256 = ""
        return Digest.text(of: try content.encoded())
    }
}
