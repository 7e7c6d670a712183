import Foundation

/// A safetensors file of float32 and int32 tensors, read whole.
///
/// For fixtures that this repository wrote: it checks what would make a test compare the wrong numbers, and is not
/// a defence against hostile files.
public struct SafetensorsFixture: Sendable {
    public struct Tensor: Sendable {
        public enum Values: Sendable {
            case float([Float])
            case int32([Int32])
        }

        public let shape: [Int]
        public let values: Values
    }

    public struct FormatError: Error, CustomStringConvertible {
        public let description: String
    }

    public let tensors: [String: Tensor]

    public init(contentsOf file: URL) throws {
        try self.init(Data(contentsOf: file))
    }

    public init(_ data: Data) throws {
        let bytes = [UInt8](data)
        guard bytes.count >= 8 else { throw FormatError(description: "shorter than the header length") }
        let headerLength = bytes[..<8].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        guard headerLength <= UInt64(bytes.count - 8) else {
            throw FormatError(description: "header of \(headerLength) bytes in a file of \(bytes.count)")
        }
        let dataStart = 8 + Int(headerLength)
        let header = try JSONDecoder().decode([String: Entry].self, from: Data(bytes[8..<dataStart]))

        var tensors: [String: Tensor] = [:]
        for (name, entry) in header where name != "__metadata__" {
            guard let dtype = entry.dtype, let shape = entry.shape, let range = entry.dataOffsets,
                range.count == 2, range[0] >= 0, range[0] <= range[1],
                range[1] - range[0] == 4 * shape.reduce(1, *), dataStart + range[1] <= bytes.count
            else { throw FormatError(description: "\(name): dtype, shape and data_offsets do not fit") }
            let words = stride(from: dataStart + range[0], to: dataStart + range[1], by: 4).map { offset in
                bytes[offset..<offset + 4].reversed().reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
            }
            switch dtype {
            case "F32":
                tensors[name] = Tensor(shape: shape, values: .float(words.map(Float.init(bitPattern:))))
            case "I32":
                tensors[name] = Tensor(shape: shape, values: .int32(words.map(Int32.init(bitPattern:))))
            default: throw FormatError(description: "\(name): dtype \(dtype) is neither F32 nor I32")
            }
        }
        self.tensors = tensors
    }

    /// The elements of a float32 tensor in row-major order.
    public func floats(_ name: String) throws -> [Float] {
        guard case .float(let values) = tensors[name]?.values else {
            throw FormatError(description: "no float32 tensor \(name)")
        }
        return values
    }

    /// The elements of an int32 tensor in row-major order.
    public func int32s(_ name: String) throws -> [Int32] {
        guard case .int32(let values) = tensors[name]?.values else {
            throw FormatError(description: "no int32 tensor \(name)")
        }
        return values
    }

    public func shape(_ name: String) throws -> [Int] {
        guard let tensor = tensors[name] else { throw FormatError(description: "no tensor \(name)") }
        return tensor.shape
    }

    /// A header entry; `__metadata__` has none of these keys.
    private struct Entry: Decodable {
        enum CodingKeys: String, CodingKey {
            case dtype, shape
            case dataOffsets = "data_offsets"
        }

        let dtype: String?
        let shape: [Int]?
        let dataOffsets: [Int]?
    }
}
