import Configs
import Foundation

/// Tensors in one file, in the safetensors format: u64-LE length of a JSON header, the header, then the data without
/// gaps. All are float32.
package enum TensorFile {
    /// A tensor as the header has it.
    struct Entry: Codable {
        var dtype: String
        var shape: [Int]
        /// Its first byte and the one behind its last, counted from the start of the data.
        var dataOffsets: [Int]

        private enum CodingKeys: String, CodingKey {
            case dtype, shape
            case dataOffsets = "data_offsets"
        }
    }

    fileprivate static let metadataKey = "__metadata__"

    /// The bytes before the data of `tensors`, which follow one another in this order.
    package static func header(_ tensors: [(name: String, shape: [Int])]) throws -> Data {
        var header: [String: any Encodable] = [metadataKey: ["format": "pt"]]
        var offset = 0
        for tensor in tensors {
            let end = offset + 4 * tensor.shape.reduce(1, *)
            header[tensor.name] = Entry(dtype: "F32", shape: tensor.shape, dataOffsets: [offset, end])
            offset = end
        }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        var json = try encoder.encode(header.mapValues(AnyEncodable.init))
        json.append(contentsOf: repeatElement(UInt8(ascii: " "), count: (8 - json.count % 8) % 8))
        return withUnsafeBytes(of: UInt64(json.count).littleEndian) { Data($0) } + json
    }

    private struct AnyEncodable: Encodable {
        let value: any Encodable
        func encode(to encoder: any Encoder) throws { try value.encode(to: encoder) }
    }
}

/// Reads a tensor file that anybody may have written. Opening it reads and checks the header alone.
package struct TensorFileReader: ~Copyable {
    package let path: String
    /// By name: shape and bytes within the data.
    package let tensors: [String: (shape: [Int], bytes: Range<Int>)]
    private let file: InputFile
    private let dataStart: Int

    /// - Parameter mostTensors: that a file of its kind has, which limits the header.
    /// - Throws: `.inputMissing` when there is no file, `.badData` that names the file and the tensor or offset when it is
    ///   no file of float32 tensors that fill it without gaps and overlaps.
    package init(_ path: String, mostTensors: Int) throws {
        func bad(_ text: String) -> LockstepError { LockstepError(.badData, "\(path): \(text)") }
        let file = try InputFile(path)
        guard file.size >= 8 else { throw bad("\(file.size) bytes are no safetensors file") }
        let length = try withUnsafeTemporaryAllocation(byteCount: 8, alignment: 8) { buffer in
            try file.read(at: 0, into: buffer)
            return UInt64(littleEndian: buffer.load(as: UInt64.self))
        }
        guard length <= UInt64(file.size - 8) else {
            throw bad("the header at offset 0 claims \(length) bytes of a file of \(file.size)")
        }
        let longest = 1 << 16 + min(mostTensors, 1 << 20) * 512
        guard length <= UInt64(longest) else {
            throw bad("the header at offset 0 claims \(length) bytes; one of its kind has at most \(longest)")
        }
        var json = Data(count: Int(length))
        try json.withUnsafeMutableBytes { try file.read(at: 8, into: $0) }
        let header: [String: Value]
        do {
            header = try JSONDecoder().decode([String: Value].self, fromUntrusted: json)
        } catch {
            throw bad("the header at offset 8 is not the JSON of a safetensors file")
        }
        let dataBytes = file.size - 8 - Int(length)
        var tensors: [String: (shape: [Int], bytes: Range<Int>)] = [:]
        for (name, value) in header where name != TensorFile.metadataKey {
            guard let entry = value.entry else {
                throw bad("tensor \(excerpt(name)): expected dtype, shape and data_offsets")
            }
            tensors[name] = (entry.shape, try Self.bytes(of: entry, name, in: dataBytes, bad))
        }
        var end = 0
        for (name, tensor) in tensors.sorted(by: { Self.order($0.value.bytes, $1.value.bytes) }) {
            guard tensor.bytes.lowerBound == end else {
                throw bad(
                    "tensor \(excerpt(name)) begins at offset \(tensor.bytes.lowerBound) of the data, expected \(end): tensors "
                        + "follow one another without gaps and overlaps")
            }
            end = tensor.bytes.upperBound
        }
        guard end == dataBytes else {
            throw bad("holds \(dataBytes) bytes of tensors, of which the header names \(end)")
        }
        self.path = path
        self.tensors = tensors
        self.file = file
        dataStart = 8 + Int(length)
    }

    /// Reads the bytes `range` of the data.
    package func read(_ range: Range<Int>, into destination: UnsafeMutableRawPointer) throws {
        try file.read(
            at: dataStart + range.lowerBound,
            into: UnsafeMutableRawBufferPointer(start: destination, count: range.count))
    }

    private static func bytes(
        of entry: TensorFile.Entry, _ name: String, in dataBytes: Int, _ bad: (String) -> LockstepError
    ) throws -> Range<Int> {
        let name = excerpt(name)
        guard entry.dtype == "F32" else {
            throw bad("tensor \(name) is \(excerpt(entry.dtype)); expected F32")
        }
        var size = 4
        for dimension in entry.shape {
            let (product, overflows) = size.multipliedReportingOverflow(by: dimension)
            guard dimension >= 0, !overflows else {
                throw bad("tensor \(name): no tensor has the shape \(excerpt("\(entry.shape)"))")
            }
            size = product
        }
        let offsets = entry.dataOffsets
        guard offsets.count == 2, offsets[0] >= 0, offsets[0] <= offsets[1], offsets[1] <= dataBytes,
            offsets[1] - offsets[0] == size
        else {
            throw bad(
                "tensor \(name): data_offsets \(excerpt("\(offsets)")) do not hold \(size) bytes within the \(dataBytes) of the data"
            )
        }
        return offsets[0]..<offsets[1]
    }

    private static func order(_ a: Range<Int>, _ b: Range<Int>) -> Bool {
        (a.lowerBound, a.upperBound) < (b.lowerBound, b.upperBound)
    }

    /// A header's value: a tensor, or the free-form metadata.
    private struct Value: Decodable {
        let entry: TensorFile.Entry?
        init(from decoder: any Decoder) throws {
            entry = try? TensorFile.Entry(from: decoder)
            if entry == nil { _ = try [String: String](from: decoder) }
        }
    }
}
