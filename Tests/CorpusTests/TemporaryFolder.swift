import Foundation

/// A folder of its own for a test, removed when the value goes.
struct TemporaryFolder: ~Copyable {
    let path: String

    init() throws {
        path = NSTemporaryDirectory() + "/lockstep-corpus-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    var contents: [String] {
        get throws { try FileManager.default.contentsOfDirectory(atPath: path).sorted() }
    }

    /// Writes a file and returns its path.
    func write(_ bytes: some Sequence<UInt8>, to name: String) throws -> String {
        try Data(Array(bytes)).write(to: URL(fileURLWithPath: "\(path)/\(name)"))
        return "\(path)/\(name)"
    }
}

/// The bytes of a token shard with this header and these tokens.
func shardBytes(
    tokens: [UInt16], magic: Int32 = 20_240_520, version: Int32 = 1, announced: Int32? = nil
) -> [UInt8] {
    var header = [Int32](repeating: 0, count: 256)
    header[0] = magic
    header[1] = version
    header[2] = announced ?? Int32(tokens.count)
    return header.flatMap { littleEndianBytes($0) } + tokens.flatMap { littleEndianBytes($0) }
}

func littleEndianBytes(_ value: some FixedWidthInteger) -> [UInt8] {
    withUnsafeBytes(of: value.littleEndian) { Array($0) }
}
