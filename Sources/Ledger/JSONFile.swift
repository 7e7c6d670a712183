import Configs
import Foundation

/// Small JSON files of a run, replaced as a whole: a reader sees the old contents or the new, never a part.
public enum JSONFile {
    /// Largest file that is read, in bytes.
    static let largest = 64 << 20

    /// Writes `value` beside `path`, then renames it there. `durable` also waits for the disk, so that the file
    /// survives a power failure. Throws I/O errors; the file at `path` is then unchanged.
    public static func write(_ value: some Encodable, to path: String, durable: Bool = true)
        throws(LockstepError)
    {
        let text: Data
        do {
            text = try bytes(of: value)
        } catch {
            throw LockstepError(.internalBug, "\(path): its contents cannot be written as JSON: \(error)")
        }
        let staged = "\(path).tmp-\(getpid())"
        let descriptor = open(staged, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else {
            throw LockstepError(.cannotCreate, "\(path): cannot be created: \(systemErrorText())")
        }
        var succeeded = writeAll(text, to: descriptor) && (!durable || fsync(descriptor) == 0)
        succeeded = succeeded && rename(staged, path) == 0
        let reason = systemErrorText()
        close(descriptor)
        guard succeeded else {
            unlink(staged)
            throw LockstepError(
                .inputOutput,
                "\(path): cannot be written: \(reason); free some space, or choose another folder")
        }
        if durable { syncParent(of: path) }
    }

    /// Reads the file at `path`. A missing file is `inputMissing`, one that is no `Value` is `badData`.
    public static func read<Value: Decodable>(_: Value.Type, from path: String) throws(LockstepError) -> Value
    {
        try decode(
            Value.self, from: contents(of: path), of: path,
            remedy: "the file is damaged, or of another version, which alone reads it")
    }

    /// The bytes of the file at `path`. Throws `inputMissing`, or `badData` when they are too many.
    static func contents(of path: String) throws(LockstepError) -> Data {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .cannotRead(path, errno) }
        let file = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
        let text: Data
        do {
            text = try file.read(upToCount: largest + 1) ?? Data()
        } catch {
            throw LockstepError(.inputMissing, "\(path): cannot be read: \(error.localizedDescription)")
        }
        guard text.count <= largest else {
            throw LockstepError(.badData, "\(path): larger than \(largest) bytes; no file of its kind is")
        }
        return text
    }

    /// What `text`, the contents of `path`, holds. Throws `badData`, with `remedy` behind what is wrong.
    static func decode<Value: Decodable>(
        _: Value.Type, from text: Data, of path: String, remedy: String
    ) throws(LockstepError) -> Value {
        do {
            return try JSONDecoder().decode(Value.self, fromUntrusted: text)
        } catch {
            throw LockstepError(.badData, "\(path): \(explanation(error)); \(remedy)")
        }
    }

    /// `value` as it stands in a file: indented, ending with a newline.
    public static func bytes(of value: some Encodable) throws -> Data {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        return try encoder.encode(value) + Data("\n".utf8)
    }

    private static func writeAll(_ text: Data, to descriptor: Int32) -> Bool {
        text.withUnsafeBytes { bytes in
            var done = 0
            while done < bytes.count {
                let count = Foundation.write(descriptor, bytes.baseAddress! + done, bytes.count - done)
                if count < 0 && errno == EINTR { continue }
                guard count > 0 else { return false }
                done += count
            }
            return true
        }
    }

    private static func syncParent(of path: String) {
        let parent = (path as NSString).deletingLastPathComponent
        let descriptor = open(parent.isEmpty ? "." : parent, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return }
        fsync(descriptor)
        close(descriptor)
    }
}
