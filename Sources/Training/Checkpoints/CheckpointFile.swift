import Configs
import Foundation
import Interchange
import Kernels
import Transformer

/// A file of a checkpoint: a header, then numbers that lie in memory.
package struct CheckpointFile {
    let name: String
    let header: Data
    /// Who holds the memory outlives this.
    let content: [UnsafeRawBufferPointer]

    var bytes: Int { header.count + content.reduce(0) { $0 + $1.count } }

    /// The parameters of `network` by name.
    static func model(_ network: LanguageModel) throws -> CheckpointFile {
        let parameters = network.parameters
        return CheckpointFile(
            name: Self.modelName,
            header: try TensorFile.header(network.layout.tensors.map { ($0.name, $0.shape) }),
            content: [UnsafeRawBufferPointer(start: parameters.base, count: 4 * parameters.count)])
    }

    static let modelName = "model.safetensors"

    /// The state of the parameters `ranges`.
    static func optimizer(
        _ state: OptimizerState, names: [String], ranges: [Range<Int>], rank: Int, ranks: Int
    ) throws -> CheckpointFile {
        var tensors: [(name: String, shape: [Int])] = []
        var content: [UnsafeRawBufferPointer] = []
        for (slot, name) in names.enumerated() {
            for range in ranges where !range.isEmpty {
                tensors.append((OptimizerState.tensorName(name, range), [range.count]))
                content.append(UnsafeRawBufferPointer(state.numbers(slot, range)))
            }
        }
        return CheckpointFile(
            name: OptimizerState.fileName(rank: rank, ranks: ranks), header: try TensorFile.header(tensors),
            content: content)
    }

    /// Bytes that are handed to the system at a time, and those that may wait for the disk: however slow it is, something
    /// moves every now and then.
    private static let pieceBytes = 1 << 20
    private static let mostUnsynced = 64 << 20

    /// Writes the file into `folder`, to the disk, and calls `progress` every now and then. Returns its line of the
    /// manifest. Throws `.cannotCreate`, `.inputOutput`.
    func write(into folder: String, progress: () -> Void = {}) throws -> Manifest.File {
        var digest = Digest()
        let file = try FileWriter("\(folder)/\(name)")
        try header.withUnsafeBytes {
            digest.update($0)
            try file.write($0)
        }
        var unsynced = 0
        for part in content {
            for first in stride(from: 0, to: part.count, by: Self.pieceBytes) {
                let piece = UnsafeRawBufferPointer(
                    rebasing: part[first..<min(first + Self.pieceBytes, part.count)])
                digest.update(piece)
                try file.write(piece)
                unsynced += piece.count
                if unsynced >= Self.mostUnsynced {
                    try file.sync()
                    unsynced = 0
                }
                progress()
            }
        }
        try file.sync()
        progress()
        return Manifest.File(name: name, bytes: bytes, sha256: Digest.text(digest.value()))
    }

    /// Writes `data` into `folder` as a checkpoint would, to see how that goes.
    package static func writeSample(
        _ data: Data, into folder: String, progress: () -> Void = {}
    ) throws {
        try data.withUnsafeBytes { bytes in
            let file = CheckpointFile(name: "checkpoint", header: Data(), content: [bytes])
            _ = try file.write(into: folder, progress: progress)
        }
    }

    /// A small file.
    static func write(_ text: Data, as name: String, into folder: String) throws -> Manifest.File {
        try CheckpointFile(name: name, header: text, content: []).write(into: folder)
    }
}
