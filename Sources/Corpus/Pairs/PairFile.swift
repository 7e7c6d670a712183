import Configs

/// How a file writes a pair of texts in a line.
enum PairFormat {
    /// Source and target with a tab between them.
    case tabSeparated
    /// JSON lines: `{"source": "…", "target": "…"}`.
    case lines

    /// The pair of a line that begins at an offset of its file. Throws a `LineFault`.
    func pair(_ line: UnsafeRawBufferPointer, at start: Int) throws -> (source: [UInt8], target: [UInt8]) {
        switch self {
        case .tabSeparated:
            let parts = line.split(separator: 0x09, omittingEmptySubsequences: false)
            guard parts.count == 2 else {
                throw LineFault(
                    start: start,
                    text: "expected a source and a target with a tab between them, found \(parts.count) part"
                        + (parts.count == 1 ? "" : "s"))
            }
            return (Array(parts[0]), Array(parts[1]))
        case .lines:
            let object = try JSONText(line: line, at: start)
            guard let source = object["source"]?.bytes, let target = object["target"]?.bytes else {
                throw LineFault(
                    start: start,
                    text: "expected an object with two texts, {\"source\": \"…\", \"target\": \"…\"}")
            }
            return (source, target)
        }
    }
}

/// A file of pairs, one a line, mapped into memory.
struct PairFile {
    let format: PairFormat
    private let file: MappedFile

    var path: String { file.path }
    var bytes: UnsafeRawBufferPointer { file.bytes }

    /// - Throws: `LockstepError`: `.inputMissing`, `.inputOutput`, and `.badData` when the file is empty.
    init(path: String, format: PairFormat) throws {
        self.format = format
        let remedy = "Set data.path to a file of pairs (.tsv, .jsonl)."
        file = try MappedFile(path: path, remedy: remedy)
        guard !file.bytes.isEmpty else { throw LockstepError(.badData, "\(path) is empty. \(remedy)") }
    }

    /// Where the line ends that `target` is in.
    func boundary(near target: Int) -> Int { lineEnd(bytes, from: max(0, target - 1)) }
}

/// A pair as tokens, and where its line begins.
struct TokenizedPair: Sendable {
    var source: [Int32]
    var target: [Int32]
    var lineStart: Int
}
