import Configs
import Foundation

/// 64-bit fingerprints that tell apart what should be the same: quick, and no protection against intent.
enum Fingerprint {
    private typealias Lanes = SIMD8<UInt64>

    /// The multiplier of FNV-1a; odd, so that multiplying loses nothing.
    private static let prime: UInt64 = 0x0000_0100_0000_01b3
    private static let offset: UInt64 = 0xcbf2_9ce4_8422_2325

    /// Of bytes. Every step is a bijection of the state, so that a single changed word always shows.
    static func of(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
        var (a, b) = (Lanes(repeating: offset), Lanes(repeating: ~offset))
        let base = bytes.baseAddress
        let blocks = bytes.count / 128
        if let base {
            for block in 0..<blocks {
                a = mixed(a, base.loadUnaligned(fromByteOffset: 128 * block, as: Lanes.self))
                b = mixed(b, base.loadUnaligned(fromByteOffset: 128 * block + 64, as: Lanes.self))
            }
        }
        var hash = offset ^ UInt64(bytes.count)
        for index in 0..<8 {
            hash = mixed(hash, a[index])
            hash = mixed(hash, b[index])
        }
        for byte in bytes[(128 * blocks)...] { hash = mixed(hash, UInt64(byte)) }
        return hash
    }

    static func of(_ text: String) -> UInt64 {
        var text = text
        return text.withUTF8 { of(UnsafeRawBufferPointer($0)) }
    }

    /// Of a file's whole content, read and not mapped. Throws `.inputMissing` or `.inputOutput`.
    static func of(file path: String) throws -> UInt64 {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw LockstepError(
                .inputMissing, "\(path): cannot be opened: \(String(cString: strerror(errno)))")
        }
        defer { close(descriptor) }
        let piece = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 64)
        defer { piece.deallocate() }
        var hash = offset
        while true {
            let count = read(descriptor, piece.baseAddress, piece.count)
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else {
                throw LockstepError(
                    .inputOutput, "\(path): cannot be read: \(String(cString: strerror(errno)))")
            }
            if count == 0 { return hash }
            hash = mixed(hash, of(UnsafeRawBufferPointer(rebasing: piece[..<count])))
        }
    }

    @inline(__always)
    private static func mixed(_ state: UInt64, _ word: UInt64) -> UInt64 {
        let next = state ^ word
        return (next << 29 | next >> 35) &* prime
    }

    @inline(__always)
    private static func mixed(_ state: Lanes, _ words: Lanes) -> Lanes {
        let next = state ^ words
        return (next &<< 29 | next &>> 35) &* Lanes(repeating: prime)
    }
}
