import Foundation

/// A file that is read at offsets, with its size of when it was opened.
package struct InputFile: ~Copyable {
    package let path: String
    /// In bytes.
    package let size: Int
    private let descriptor: Int32

    /// Throws `.inputMissing` when there is no file that can be read, `.badData` when `path` is none.
    package init(_ path: String) throws {
        // Without O_NONBLOCK, opening a pipe would wait for its writer.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            throw LockstepError(.inputMissing, "\(path): cannot be read: \(String(cString: strerror(errno)))")
        }
        var information = stat()
        guard fstat(descriptor, &information) == 0, information.st_mode & S_IFMT == S_IFREG else {
            close(descriptor)
            throw LockstepError(.badData, "\(path): expected a file, found something else")
        }
        self.path = path
        self.descriptor = descriptor
        size = Int(information.st_size)
    }

    deinit { close(descriptor) }

    /// Fills `buffer` from offset `offset` on. Throws `.badData` when the file ends before, `.inputOutput`.
    package func read(at offset: Int, into buffer: UnsafeMutableRawBufferPointer) throws {
        var done = 0
        while done < buffer.count {
            let count = pread(
                descriptor, buffer.baseAddress! + done, buffer.count - done, off_t(offset + done))
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else {
                throw LockstepError(
                    .inputOutput,
                    "\(path): cannot be read at offset \(offset + done): \(String(cString: strerror(errno)))")
            }
            guard count > 0 else {
                throw LockstepError(.badData, "\(path): ends at offset \(offset + done), within what is read")
            }
            done += count
        }
    }

    /// The whole file. Throws `.badData` when it has more than `limit` bytes, `.inputOutput`.
    package func contents(limit: Int) throws -> Data {
        guard size <= limit else {
            throw LockstepError(.badData, "\(path): \(size) bytes; a file of its kind has at most \(limit)")
        }
        var content = Data(count: size)
        try content.withUnsafeMutableBytes { try read(at: 0, into: $0) }
        return content
    }
}
