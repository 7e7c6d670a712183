import Configs
import Foundation
import Kernels
import Transformer

/// Tensors of a model in one file, in the safetensors format: u64-LE length of a JSON header, the header, then the data
/// without gaps. The arena is in layout order, so the data is the arena itself.
enum Safetensors {
    private struct Entry: Codable {
        var dtype: String
        var shape: [Int]
        var dataOffsets: [Int]

        private enum CodingKeys: String, CodingKey {
            case dtype, shape
            case dataOffsets = "data_offsets"
        }
    }

    private static let metadataKey = "__metadata__"
    private static let largestHeader = 100_000_000

    /// Writes all tensors of `layout` and syncs the file to disk. Throws `.inputOutput` or `.cannotCreate`.
    static func write(_ parameters: Vector, layout: ParameterLayout, to path: String) throws {
        var header: [String: any Encodable] = [metadataKey: ["format": "pt"]]
        for tensor in layout.tensors {
            header[tensor.name] = Entry(
                dtype: "F32", shape: tensor.shape,
                dataOffsets: [tensor.range.lowerBound * 4, tensor.range.upperBound * 4])
        }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        var json = try encoder.encode(header.mapValues(AnyEncodable.init))
        json.append(contentsOf: repeatElement(UInt8(ascii: " "), count: (8 - json.count % 8) % 8))
        var length = UInt64(json.count).littleEndian
        let prefix = withUnsafeBytes(of: &length) { Data($0) } + json
        let data = UnsafeRawBufferPointer(start: parameters.base, count: parameters.count * 4)

        let file = try FileWriter(path)
        try prefix.withUnsafeBytes { try file.write($0) }
        try file.write(data)
        try file.sync()
    }

    /// Reads all tensors of `layout` into `parameters`. Throws `.badData` naming the file and tensor when the file is
    /// malformed or of another model or holds a number that is not finite, `.inputMissing` when it is not there.
    static func read(_ path: String, layout: ParameterLayout, into parameters: Vector) throws {
        func bad(_ text: String) -> LockstepError { LockstepError(.badData, "\(path): \(text)") }
        guard access(path, R_OK) == 0 else {
            throw LockstepError(.inputMissing, "\(path): cannot be read: \(String(cString: strerror(errno)))")
        }
        guard let data = try? Data(contentsOf: URL(fileURLWithPath: path), options: .alwaysMapped) else {
            throw bad("no file that can be read")
        }
        guard data.count >= 8 else { throw bad("\(data.count) bytes are no safetensors file") }
        let headerLength = data.prefix(8).enumerated().reduce(UInt64(0)) {
            $0 | UInt64($1.element) << UInt64(8 * $1.offset)
        }
        guard headerLength <= UInt64(min(largestHeader, data.count - 8)) else {
            throw bad("the header at offset 0 claims \(headerLength) bytes of a file of \(data.count)")
        }
        let start = 8 + Int(headerLength)
        let entries: [String: Entry]
        do {
            entries = try JSONDecoder().decode(
                [String: HeaderValue].self, from: data.subdata(in: 8..<start)
            ).compactMapValues(\.entry)
        } catch {
            throw bad("the header at offset 8 is not the JSON of a safetensors file")
        }
        guard data.count - start == layout.count * 4 else {
            throw bad("holds \(data.count - start) bytes of tensors; this model has \(layout.count * 4)")
        }
        for tensor in layout.tensors {
            guard let entry = entries[tensor.name] else { throw bad("tensor \(tensor.name) is missing") }
            guard entry.dtype == "F32", entry.shape == tensor.shape else {
                throw bad(
                    "tensor \(tensor.name) is \(entry.dtype) \(entry.shape); expected F32 \(tensor.shape)")
            }
            guard entry.dataOffsets == [tensor.range.lowerBound * 4, tensor.range.upperBound * 4] else {
                throw bad("tensor \(tensor.name) lies at \(entry.dataOffsets), not where its shape puts it")
            }
        }
        guard entries.count == layout.tensors.count else {
            let extra = Set(entries.keys).subtracting(layout.tensors.map(\.name)).sorted()
            throw bad("tensors that this model does not have: \(extra.joined(separator: ", "))")
        }
        data.withUnsafeBytes { bytes in
            UnsafeMutableRawBufferPointer(start: parameters.base, count: layout.count * 4)
                .copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[start...]))
        }
        for tensor in layout.tensors where !Reductions.sumOfSquares(parameters.slice(tensor.range)).isFinite {
            throw bad("tensor \(tensor.name) holds numbers that are not finite")
        }
    }

    /// A header's value: a tensor, or the free-form metadata.
    private struct HeaderValue: Decodable {
        let entry: Entry?
        init(from decoder: any Swift.Decoder) throws {
            if let entry = try? Entry(from: decoder) {
                self.entry = entry
            } else {
                _ = try [String: String](from: decoder)
                entry = nil
            }
        }
    }

    private struct AnyEncodable: Encodable {
        let value: any Encodable
        func encode(to encoder: any Encoder) throws { try value.encode(to: encoder) }
    }
}
