import Configs
import Glibc

/// A regular file, open for reading for as long as the object lives.
///
/// Unlike a mapping, reading takes no memory of the process for what has been read (a page fault maps all of a large folio of
/// the page cache, up to some MiB), and a file that was cut short meanwhile is an error and no signal.
final class ReadableFile: Sendable {
    let path: String
    /// In bytes, when it was opened.
    let size: Int
    let descriptor: Int32

    /// - Parameter remedy: a sentence that says what to name instead.
    /// - Throws: `LockstepError`: `.inputMissing` when there is no such file, `.badData` when it is not a regular file,
    ///   `.inputOutput` when it cannot be read.
    init(
        path: String, remedy: String = "Set data.path to a text file or a token shard (.bin)."
    ) throws {
        self.path = path
        // Nonblocking, so that opening a pipe does not wait for a writer.
        descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw Self.openingError(path, code: errno, remedy: remedy) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else {
            let code = errno
            close(descriptor)
            throw Self.readingError(path, code: code)
        }
        guard status.st_mode & S_IFMT == S_IFREG else {
            close(descriptor)
            let kind = status.st_mode & S_IFMT == S_IFDIR ? "a folder" : "not a regular file"
            throw LockstepError(.badData, "\(path) is \(kind). \(remedy)")
        }
        size = Int(status.st_size)
    }

    deinit { close(descriptor) }

    /// Fills `buffer` with what is in the file from `offset` on; allocates nothing.
    ///
    /// - Throws: `LockstepError(.inputOutput)` when it cannot be read, or ends before.
    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws {
        var done = 0
        while done < buffer.count {
            let count = pread(descriptor, buffer.baseAddress! + done, buffer.count - done, offset + done)
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { throw Self.readingError(path, code: errno) }
            guard count > 0 else {
                var status = stat()
                guard fstat(descriptor, &status) == 0 else { throw Self.readingError(path, code: errno) }
                throw LockstepError(
                    .inputOutput,
                    "\(path) has \(status.st_size) bytes, but had \(size) when it was opened. Bring it back as it was."
                )
            }
            done += count
        }
    }

    private static func openingError(_ path: String, code: Int32, remedy: String) -> LockstepError {
        guard code == ENOENT || code == ENOTDIR else { return readingError(path, code: code) }
        return LockstepError(
            .inputMissing,
            "There is no file \(path). \(remedy) A relative path starts from the working directory; launch/setup makes "
                + "data/kjv.txt.")
    }

    static func readingError(_ path: String, code: Int32) -> LockstepError {
        LockstepError(
            .inputOutput,
            "Cannot read \(path): \(systemMessage(code)). Check its permissions, or name another file."
        )
    }
}

/// Numbers of a file for who goes over all of it: read a window at a time.
struct FileWindow {
    private let file: ReadableFile
    private var bytes: [UInt8] = []
    private var start = 0

    private static let size = 1 << 16

    init(_ file: ReadableFile) { self.file = file }

    /// The little-endian number at `offset`, all of which is within the file.
    ///
    /// - Throws: as `ReadableFile.read`.
    mutating func number<Number: FixedWidthInteger>(_ type: Number.Type, at offset: Int) throws -> Number {
        let size = MemoryLayout<Number>.size
        if offset < start || offset + size > start + bytes.count {
            start = offset
            let count = min(Self.size, file.size - offset)
            if bytes.count != count { bytes = [UInt8](repeating: 0, count: count) }
            try bytes.withUnsafeMutableBytes { try file.read(into: $0, at: start) }
        }
        return Number(
            littleEndian: bytes.withUnsafeBytes {
                $0.loadUnaligned(fromByteOffset: offset - start, as: Number.self)
            })
    }
}

/// The system's text for an error number.
func systemMessage(_ code: Int32) -> String {
    String(cString: strerror(code))
}
