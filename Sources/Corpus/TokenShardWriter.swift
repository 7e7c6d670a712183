import Configs
import Glibc

/// Writes a token shard piece by piece. The file appears under its name, whole and on disk, when `finish` returns;
/// without `finish` nothing is left behind.
public struct TokenShardWriter: ~Copyable {
    private let path: String
    private let temporaryPath: String
    private var descriptor: Int32
    private var count = 0

    /// - Throws: `LockstepError`: `.cannotCreate` when the folder cannot be written, `.inputOutput` when the disk is full.
    public init(path: String) throws {
        self.path = path
        temporaryPath = "\(path).tmp-\(getpid())"
        unlink(temporaryPath)
        descriptor = open(temporaryPath, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw creationError(path, code: errno) }
        try writeHeader()
    }

    deinit {
        guard descriptor >= 0 else { return }
        close(descriptor)
        unlink(temporaryPath)
    }

    /// - Throws: `LockstepError(.inputOutput)`, for example when the disk is full; `.badData` above 2³¹ − 1 tokens.
    public mutating func append(_ tokens: [UInt16]) throws {
        count += tokens.count
        guard count <= ShardFormat.maxTokens else {
            throw LockstepError(
                .badData,
                "\(path): a token shard holds at most \(ShardFormat.maxTokens) tokens. Use a smaller corpus.")
        }
        try tokens.withUnsafeBytes { try writeAll($0, at: nil) }
    }

    /// Puts the finished shard in its place, over a file of the same name.
    public consuming func finish() throws {
        try writeHeader()
        guard fsync(descriptor) == 0 else { throw writingError(path, code: errno) }
        guard rename(temporaryPath, path) == 0 else { throw creationError(path, code: errno) }
        close(descriptor)
        descriptor = -1
        try syncFolder(of: path)
    }

    private func writeHeader() throws {
        var header = [Int32](repeating: 0, count: ShardFormat.headerBytes / 4)
        header[0] = ShardFormat.magic.littleEndian
        header[1] = ShardFormat.version.littleEndian
        header[2] = Int32(count).littleEndian
        try header.withUnsafeBytes { try writeAll($0, at: 0) }
        guard lseek(descriptor, 0, SEEK_END) >= 0 else { throw writingError(path, code: errno) }
    }

    /// Writes at an offset, or at the file position when there is none.
    private func writeAll(_ bytes: UnsafeRawBufferPointer, at offset: Int?) throws {
        var done = 0
        while done < bytes.count {
            let start = bytes.baseAddress! + done
            let written =
                if let offset {
                    pwrite(descriptor, start, bytes.count - done, off_t(offset + done))
                } else {
                    write(descriptor, start, bytes.count - done)
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
