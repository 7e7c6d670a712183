import Configs
import Crypto
import Foundation

/// SHA-256 of what it is fed, piece by piece.
package struct Digest {
    static let bytes = 32
    private var hash = SHA256()

    mutating func update(_ bytes: UnsafeRawBufferPointer) { hash.update(bufferPointer: bytes) }

    /// 32 bytes.
    func value() -> [UInt8] { Array(hash.finalize()) }

    /// Lower-case hexadecimal digits.
    static func text(_ value: some Sequence<UInt8>) -> String {
        value.map { String(UInt16($0) + 256, radix: 16).dropFirst() }.joined()
    }

    package static func text(of bytes: some ContiguousBytes) -> String {
        var digest = Digest()
        bytes.withUnsafeBytes { digest.update($0) }
        return text(digest.value())
    }

    /// Of the whole file at `path`, in memory that does not grow with it. Throws `.inputMissing`, `.badData`,
    /// `.inputOutput`.
    static func text(ofFile path: String) throws -> String { try text(of: InputFile(path)) }

    /// Of the whole of `file`.
    static func text(of file: borrowing InputFile) throws -> String {
        var digest = Digest()
        let block = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 18, alignment: 64)
        defer { block.deallocate() }
        var offset = 0
        while offset < file.size {
            let part = UnsafeMutableRawBufferPointer(rebasing: block[..<min(block.count, file.size - offset)])
            try file.read(at: offset, into: part)
            digest.update(UnsafeRawBufferPointer(part))
            offset += part.count
        }
        return text(digest.value())
    }
}
