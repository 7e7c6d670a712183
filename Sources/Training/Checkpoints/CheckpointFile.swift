import Configs
import Foundation
import Kernels
import Transformer

/// A file of a checkpoint: a header, then numbers that lie in memory.
package struct CheckpointFile {
    let name: String
    let header: Data
    /// Who holds the memory outlives this.
    private(set) var content: [UnsafeRawBufferPointer]

    var bytes: Int { header.count + content.reduce(0) { $0 + $1.count } }

    /// The parameters of `decoder` by name.
    static func model(_ decoder: Transformer.Decoder) throws -> CheckpointFile {
        let parameters = decoder.parameters
        return CheckpointFile(
            name: Self.modelName,
            header: try TensorFile.header(decoder.layout.tensors.map { ($0.name, $0.shape) }),
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

    /// Copies the content to `offset` of `destination`, moves `offset` behind it, and is made of the copy from then on.
    mutating func copyContent(to destination: UnsafeMutableRawBufferPointer, offset: inout Int) {
        let start = offset
        for part in content where !part.isEmpty {
            UnsafeMutableRawBufferPointer(rebasing: destination[offset..<offset + part.count]).copyMemory(
                from: part)
            offset += part.count
        }
        content = [UnsafeRawBufferPointer(rebasing: destination[start..<offset])]
    }

    /// Writes the file into `folder`, to the disk. Returns its line of the manifest. Throws `.cannotCreate`, `.inputOutput`.
    func write(into folder: String) throws -> Manifest.File {
        var digest = Digest()
        let file = try FileWriter("\(folder)/\(name)")
        try header.withUnsafeBytes {
            digest.update($0)
            try file.write($0)
        }
        let pieceBytes = 1 << 20
        for part in content {
            for first in stride(from: 0, to: part.count, by: pieceBytes) {
                let piece = UnsafeRawBufferPointer(
                    rebasing: part[first..<min(first + pieceBytes, part.count)])
                digest.update(piece)
                try file.write(piece)
            }
        }
        try file.sync()
        return Manifest.File(name: name, bytes: bytes, sha256: Digest.text(digest.value()))
    }

    /// Writes `data` into `folder` as a checkpoint would, to see how long that takes.
    package static func writeSample(_ data: Data, into folder: String) throws {
        _ = try write(data, as: "checkpoint", into: folder)
    }

    /// A small file.
    static func write(_ text: Data, as name: String, into folder: String) throws -> Manifest.File {
        try CheckpointFile(name: name, header: text, content: []).write(into: folder)
    }
}
