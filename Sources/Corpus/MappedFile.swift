import Configs
import Glibc

/// A regular file, mapped read-only into memory for as long as the object lives.
final class MappedFile: Sendable {
    let path: String
    nonisolated(unsafe) let bytes: UnsafeRawBufferPointer

    /// - Parameter remedy: a sentence that says what to name instead.
    /// - Throws: `LockstepError`: `.inputMissing` when there is no such file, `.badData` when it is not a regular file,
    ///   `.inputOutput` when it cannot be read.
    init(
        path: String, remedy: String = "Set data.path to a text file or a token shard (.bin)."
    ) throws {
        self.path = path
        // Nonblocking, so that opening a pipe does not wait for a writer.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw Self.openingError(path, code: errno, remedy: remedy) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw Self.readingError(path, code: errno) }
        guard status.st_mode & S_IFMT == S_IFREG else {
            let kind = status.st_mode & S_IFMT == S_IFDIR ? "a folder" : "not a regular file"
            throw LockstepError(
                .badData, "\(path) is \(kind). \(remedy)")
        }
        guard let size = Int(exactly: status.st_size), size > 0 else {
            bytes = UnsafeRawBufferPointer(start: nil, count: 0)
            return
        }
        guard let start = mmap(nil, size, PROT_READ, MAP_SHARED, descriptor, 0), start != MAP_FAILED else {
            throw Self.readingError(path, code: errno)
        }
        bytes = UnsafeRawBufferPointer(start: start, count: size)
    }

    deinit {
        if let start = bytes.baseAddress { munmap(UnsafeMutableRawPointer(mutating: start), bytes.count) }
    }

    private static func openingError(_ path: String, code: Int32, remedy: String) -> LockstepError {
        guard code == ENOENT || code == ENOTDIR else { return readingError(path, code: code) }
        return LockstepError(
            .inputMissing,
            "There is no file \(path). \(remedy) A relative path starts from the working directory; launch/setup makes "
                + "data/kjv.txt.")
    }

    private static func readingError(_ path: String, code: Int32) -> LockstepError {
        LockstepError(
            .inputOutput,
            "Cannot read \(path): \(systemMessage(code)). Check its permissions, or name another file."
        )
    }
}

/// The system's text for an error number.
func systemMessage(_ code: Int32) -> String {
    String(cString: strerror(code))
}
