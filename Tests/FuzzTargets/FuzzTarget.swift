import Configs
import Foundation

/// Reads bytes as the product reads a file of some format, and goes on with what it got as the product does.
///
/// One function per format, which both libFuzzer and the tests call. Whatever the bytes are, they are read, or refused by a
/// `LockstepError` that names the file and says what is wrong in a line that a terminal can show. Everything else is a
/// breach; a trap ends the process.
public final class FuzzTarget {
    /// Reads bytes; throws what the product throws, or a `Breach`.
    typealias Parser = ([UInt8]) throws -> Void

    /// What a parser must not do.
    public struct Breach: Error, CustomStringConvertible {
        public let description: String
        init(_ description: String) { self.description = description }
    }

    private let scratch: Scratch
    private let parse: Parser

    public init(_ format: Format) throws {
        scratch = try Scratch()
        parse =
            switch format {
            case .config: Self.config(scratch)
            case .override: try Self.override(scratch)
            case .cluster: try Self.cluster(scratch)
            case .pretrained: Self.pretrained(scratch)
            case .corpus: Self.corpus(scratch)
            case .shard: Self.shard(scratch)
            case .documents: Self.samples("documents.jsonl", .language, scratch)
            case .pairs: Self.samples("pairs.tsv", .pairs, scratch)
            case .tokenizer: Self.tokenizer(scratch)
            case .manifest, .state: try Self.checkpoint(format, scratch)
            case .model: try Self.model(scratch)
            case .optimizer: try Self.optimizer(scratch)
            case .profile: try Self.profile(scratch)
            case .estimate, .ledger, .evaluations, .checkpoints, .resumes, .speed, .memory:
                try Self.record(format, scratch)
            case .status: Self.status(scratch)
            case .heartbeat: try Self.heartbeat(scratch)
            }
    }

    /// Whether the product accepts `bytes`. Throws a `Breach` when it does neither that nor refuse them as it should.
    public func accepts(_ bytes: [UInt8]) throws(Breach) -> Bool {
        do {
            try parse(bytes)
            return true
        } catch let error as LockstepError {
            try Self.check(error)
            guard error.description.contains(scratch.path) else {
                throw Breach("a refusal that does not name the file: \(error)")
            }
            return false
        } catch let breach as Breach {
            throw breach
        } catch {
            throw Breach("\(type(of: error)) instead of a LockstepError: \(error)")
        }
    }

    /// Goes on with what was read: errors need not name the file any more.
    static func use(_ body: () throws -> Void) throws {
        do { try body() } catch let error as LockstepError { try check(error) }
    }

    /// Throws a `Breach` unless a person can read `error` and its status is one of bad input.
    private static func check(_ error: LockstepError) throws(Breach) {
        guard [.usage, .badData, .badConfiguration, .inputMissing].contains(error.status) else {
            throw Breach("a status that is not of bad input, \(error.status): \(error)")
        }
        try checkText(error.description)
    }

    /// Throws a `Breach` unless `text` is fit for a terminal.
    static func checkText(_ text: String) throws(Breach) {
        let isPrintable = text.unicodeScalars.allSatisfy {
            ![.control, .format, .lineSeparator, .paragraphSeparator].contains($0.properties.generalCategory)
        }
        guard isPrintable, text.utf8.count <= 2000 else {
            throw Breach(
                "a message of \(text.utf8.count) bytes, or not of one line: \(text.debugDescription)")
        }
    }
}

/// A folder in memory, if there is such a place, and gone with this object.
final class Scratch {
    let path: String

    init() throws {
        let environment = ProcessInfo.processInfo.environment
        let shared = FileManager.default.isWritableFile(atPath: "/dev/shm") ? "/dev/shm" : "/tmp"
        path = "\(environment["TMPDIR"] ?? shared)/lockstep-fuzz-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// Replaces the file `name`, and the folders above it, and returns its path.
    @discardableResult
    func write(_ bytes: [UInt8], to name: String) throws -> String {
        let file = "\(path)/\(name)"
        var descriptor = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        if descriptor < 0 {
            let folder = (file as NSString).deletingLastPathComponent
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            descriptor = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        }
        defer { close(descriptor) }
        guard Foundation.write(descriptor, bytes, bytes.count) == bytes.count else {
            throw CocoaError(.fileWriteUnknown)
        }
        return file
    }
}
