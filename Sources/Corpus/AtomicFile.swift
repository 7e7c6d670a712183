import Configs
import Glibc

/// A new file, written from its beginning to its end. It appears under its name, whole and on disk, when `finish`
/// returns; without `finish` nothing is left behind.
struct AtomicFile: ~Copyable {
    private let path: String
    private let temporaryPath: String
    private var descriptor: Int32

    /// - Throws: `LockstepError`: `.cannotCreate` when the folder cannot be written, `.inputOutput` when the disk is full.
    init(path: String) throws {
        self.path = path
        temporaryPath = "\(path).tmp-\(getpid())"
        unlink(temporaryPath)
        descriptor = open(temporaryPath, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw creationError(path, code: errno) }
    }

    deinit {
        guard descriptor >= 0 else { return }
        close(descriptor)
        unlink(temporaryPath)
    }

    /// Writes a whole file at once.
    static func write(_ bytes: [UInt8], to path: String) throws {
        let file = try AtomicFile(path: path)
        try bytes.withUnsafeBytes { try file.write($0) }
        try file.finish()
    }

    /// Puts the finished file in its place, over a file of the same name.
    consuming func finish() throws {
        guard fsync(descriptor) == 0 else { throw writingError(path, code: errno) }
        guard rename(temporaryPath, path) == 0 else { throw creationError(path, code: errno) }
        close(descriptor)
        descriptor = -1
        try syncFolder(of: path)
    }

    /// Writes at an offset, or behind all that was written without one.
    func write(_ bytes: UnsafeRawBufferPointer, at offset: Int? = nil) throws {
        var done = 0
        while done < bytes.count {
            let start = bytes.baseAddress! + done
            let written =
                if let offset {
                    pwrite(descriptor, start, bytes.count - done, off_t(offset + done))
                } else {
                    Glibc.write(descriptor, start, bytes.count - done)
                }
            if written < 0 && errno == EINTR { continue }
            guard written > 0 else { throw writingError(path, code: written < 0 ? errno : EIO) }
            done += written
        }
    }
}

/// Creates a folder and the folders above it that are missing.
///
/// - Throws: `LockstepError(.cannotCreate)`.
func createFolder(_ path: String) throws {
    guard mkdir(path, 0o755) != 0 else { return }
    let code = errno
    if code == ENOENT, let slash = path.lastIndex(of: "/"), slash != path.startIndex {
        try createFolder(String(path[..<slash]))
        if mkdir(path, 0o755) == 0 { return }
    }
    var status = stat()
    guard stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else {
        throw creationError(path, code: code)
    }
}

private func syncFolder(of path: String) throws {
    let folder = path.lastIndex(of: "/").map { String(path[...$0]) } ?? "."
    let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { throw writingError(folder, code: errno) }
    defer { close(descriptor) }
    // Some network file systems cannot sync a folder and say EINVAL; the rename itself has succeeded.
    guard fsync(descriptor) == 0 || errno == EINVAL else { throw writingError(folder, code: errno) }
}

private func creationError(_ path: String, code: Int32) -> LockstepError {
    if code == ENOSPC || code == EDQUOT || code == EIO { return writingError(path, code: code) }
    return LockstepError(
        .cannotCreate,
        "Cannot create \(path): \(systemMessage(code)). Choose an output folder that you may write to (--out DIR)."
    )
}

private func writingError(_ path: String, code: Int32) -> LockstepError {
    LockstepError(
        .inputOutput,
        "Cannot write \(path): \(systemMessage(code)). Free some space or choose another output folder (--out DIR)."
    )
}
