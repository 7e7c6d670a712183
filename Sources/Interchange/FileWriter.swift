import Configs
import Foundation

/// A new file that is written from start to end; what fails is thrown with the path and the system's reason.
package struct FileWriter: ~Copyable {
    private let path: String
    private let descriptor: Int32

    /// Creates or empties `path`. Throws `.cannotCreate`, or `.inputOutput` when the disk is full.
    package init(_ path: String) throws {
        self.path = path
        descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else {
            let isFull = [ENOSPC, EDQUOT].contains(errno)
            throw LockstepError(
                isFull ? .inputOutput : .cannotCreate,
                "\(path): cannot be created: \(String(cString: strerror(errno)))")
        }
    }

    deinit { close(descriptor) }

    /// Writes all of `bytes`. Throws `.inputOutput`.
    package func write(_ bytes: UnsafeRawBufferPointer) throws {
        var done = 0
        while done < bytes.count {
            let written = Foundation.write(
                descriptor, bytes.baseAddress.map { $0 + done }, bytes.count - done)
            if written < 0 && errno == EINTR { continue }
            guard written > 0 else {
                let code = errno
                throw failure("cannot be written at offset \(lseek(descriptor, 0, SEEK_CUR))", code)
            }
            done += written
        }
    }

    /// Returns when the content is on disk. Throws `.inputOutput`.
    package func sync() throws {
        guard fsync(descriptor) == 0 else { throw failure("cannot be synced", errno) }
    }

    private func failure(_ what: String, _ code: Int32) -> LockstepError {
        LockstepError(
            .inputOutput,
            "\(path): \(what): \(String(cString: strerror(code))); free some space, or choose another folder with --out"
        )
    }

    /// Writes and syncs a whole file.
    package static func write(_ data: Data, to path: String) throws {
        let file = try FileWriter(path)
        try data.withUnsafeBytes { try file.write($0) }
        try file.sync()
    }

    /// Makes the folder `path`. Throws `.cannotCreate`, or `.inputOutput` when the disk is full.
    package static func makeDirectory(_ path: String) throws {
        guard mkdir(path, 0o755) == 0 else {
            let isFull = [ENOSPC, EDQUOT].contains(errno)
            throw LockstepError(
                isFull ? .inputOutput : .cannotCreate,
                "\(path): cannot be made: \(String(cString: strerror(errno)))")
        }
    }

    /// Renames atomically. Throws `.inputOutput`.
    package static func rename(_ source: String, to destination: String) throws {
        guard Foundation.rename(source, destination) == 0 else {
            throw LockstepError(
                .inputOutput,
                "\(source): cannot be renamed to \(destination): \(String(cString: strerror(errno)))")
        }
    }

    /// Makes a folder's entries durable. Throws `.inputOutput`.
    package static func syncDirectory(_ path: String) throws {
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw LockstepError(.inputOutput, "\(path): \(String(cString: strerror(errno)))")
        }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else {
            throw LockstepError(
                .inputOutput, "\(path): cannot be synced: \(String(cString: strerror(errno)))")
        }
    }
}
