import Glibc

/// A regular file, mapped read-only into memory for as long as the object lives.
final class MappedFile: Sendable {
    let path: String
    nonisolated(unsafe) let bytes: UnsafeRawBufferPointer

    /// - Throws: as `ReadableFile`.
    init(
        path: String, remedy: String = "Set data.path to a text file or a token shard (.bin)."
    ) throws {
        let file = try ReadableFile(path: path, remedy: remedy)
        self.path = path
        guard file.size > 0 else {
            bytes = UnsafeRawBufferPointer(start: nil, count: 0)
            return
        }
        guard let start = mmap(nil, file.size, PROT_READ, MAP_SHARED, file.descriptor, 0), start != MAP_FAILED
        else { throw ReadableFile.readingError(path, code: errno) }
        bytes = UnsafeRawBufferPointer(start: start, count: file.size)
    }

    deinit {
        if let start = bytes.baseAddress { munmap(UnsafeMutableRawPointer(mutating: start), bytes.count) }
    }
}
