import Configs
import Foundation

/// Reads a run's `ledger.jsonl`.
public typealias LedgerReader = JSONLinesReader<LedgerLine>

/// Reads a file of JSON lines one record at a time, in memory that does not grow with the file.
///
/// A last line without its newline that is no record is what a crash leaves: it ends the file, and `truncatedLine`
/// says so. Any other line that is no record is an error that names file and line.
public struct JSONLinesReader<Record: Decodable>: ~Copyable {
    public let path: String
    /// Number of the line that `next` read last, from 1.
    public private(set) var line = 0
    /// Number of the last line when it is incomplete.
    public private(set) var truncatedLine: Int?

    private let descriptor: Int32
    private let decoder = JSONDecoder()
    private var buffer = Data()
    private var isAtEnd = false

    private static var longestLine: Int { 65_536 }

    public init(path: String) throws(LockstepError) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .cannotRead(path, errno) }
        self.path = path
        self.descriptor = descriptor
    }

    deinit { close(descriptor) }

    /// The next record; nil at the end of the file.
    public mutating func next() throws(LockstepError) -> Record? {
        guard let (text, isTerminated) = try nextLine() else { return nil }
        line += 1
        do {
            return try decoder.decode(Record.self, fromUntrusted: text)
        } catch {
            guard isTerminated else {
                truncatedLine = line
                return nil
            }
            throw LockstepError(
                .badData,
                "\(path), line \(line): \(explanation(error)); the file is damaged, or of another version, which alone reads it"
            )
        }
    }

    /// The bytes up to the next newline, or up to the end of the file.
    mutating func nextLine() throws(LockstepError) -> (text: Data, isTerminated: Bool)? {
        var searched = 0
        while true {
            let unsearched = buffer[(buffer.startIndex + searched)...]
            if let newline = unsearched.firstIndex(of: UInt8(ascii: "\n")) {
                let text = buffer[..<newline]
                buffer = buffer[(newline + 1)...]
                return (text, true)
            }
            searched = buffer.count
            if isAtEnd {
                guard !buffer.isEmpty else { return nil }
                let text = buffer
                buffer = Data()
                return (text, false)
            }
            guard searched <= Self.longestLine else {
                throw LockstepError(
                    .badData, "\(path), line \(line + 1): longer than \(Self.longestLine) bytes; no line is")
            }
            try fill()
        }
    }

    private mutating func fill() throws(LockstepError) {
        var block = Data(count: 4 * Self.longestLine)
        var count: Int
        repeat {
            count = block.withUnsafeMutableBytes { read(descriptor, $0.baseAddress!, $0.count) }
        } while count < 0 && errno == EINTR
        guard count >= 0 else { throw .cannotRead(path, errno) }
        isAtEnd = count == 0
        buffer = Data(buffer) + block.prefix(count)
    }
}

extension LockstepError {
    /// A file that could not be opened or read, by `errno`.
    static func cannotRead(_ path: String, _ code: Int32) -> LockstepError {
        let reason = String(cString: strerror(code))
        let isMissing = code == ENOENT || code == ENOTDIR
        return LockstepError(
            isMissing || code == EACCES || code == EISDIR ? .inputMissing : .inputOutput,
            "\(path): cannot be read: \(reason)")
    }
}

/// What a decoder found wrong, naming the key.
func explanation(_ error: any Error) -> String {
    func name(_ path: [any CodingKey], _ key: (any CodingKey)? = nil) -> String {
        let keys = (path + (key.map { [$0] } ?? [])).map(\.stringValue).joined(separator: ".")
        return "'\(excerpt(keys, limit: 200))'"
    }
    switch error {
    case DecodingError.keyNotFound(let key, let context):
        return "the key \(name(context.codingPath, key)) is missing"
    case DecodingError.typeMismatch(let type, let context),
        DecodingError.valueNotFound(let type, let context):
        return "\(name(context.codingPath)) is no \(type)"
    case DecodingError.dataCorrupted(let context) where !context.codingPath.isEmpty:
        return "\(name(context.codingPath)): \(excerpt(context.debugDescription, limit: 200))"
    default:
        // JSONDecoder says no more of a fraction where an integer has to be than of a stray bracket.
        return "not valid JSON, or a number that is not of its key's kind"
    }
}
