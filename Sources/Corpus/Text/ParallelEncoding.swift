import Configs

/// Encodes texts on several threads, in memory that does not grow with them.
struct ParallelEncoding {
    let tokenizer: any Tokenizer
    private let encoders: [Encoder]

    init(_ tokenizer: any Tokenizer, threads: Int) {
        self.tokenizer = tokenizer
        encoders = (0..<max(1, threads)).map { _ in Encoder(tokenizer) }
    }

    /// Hands the tokens of `part` of a file to `body`, in order and piece by piece, with the offset behind each piece.
    ///
    /// - Throws: `LockstepError(.badData)` that names the line, and what `body` throws.
    func run(_ file: TextFile, in part: Range<Int>, body: ([Int32], Int) throws -> Void) throws {
        nonisolated(unsafe) let text = file.bytes
        switch file.format {
        case .plain:
            nonisolated(unsafe) let text = UnsafeRawBufferPointer(rebasing: text[part])
            try ParallelJobs(workers: encoders).run(PieceJobs(tokenizer.pieces(of: text))) { encoder, job in
                encoder.encode(job.pieces, of: text)
            } finish: { job, tokens in
                try body(tokens, part.lowerBound + job.end)
            }
        case .lines:
            let end = tokenizer.documentEnd
            do {
                try ParallelJobs(workers: encoders).run(LineJobs(text, in: part)) { encoder, job in
                    try encoder.encodeDocuments(text, .lines, in: job).flatMap { $0 + end }
                } finish: { job, tokens in
                    try body(tokens, job.upperBound)
                }
            } catch let fault as LineFault {
                throw fault.error(file.path, text)
            }
        }
    }

    /// Hands the documents of `part` of a file to `body`, in order and some at a time, with the offset behind them: those of
    /// JSON lines, or the lines of a plain text.
    ///
    /// - Throws: `LockstepError(.badData)` that names the line, and what `body` throws.
    func runDocuments(
        _ file: TextFile, in part: Range<Int>, body: ([[Int32]], Int) throws -> Void
    ) throws {
        nonisolated(unsafe) let text = file.bytes
        do {
            try ParallelJobs(workers: encoders).run(LineJobs(text, in: part)) { encoder, job in
                try encoder.encodeDocuments(text, file.format, in: job)
            } finish: { job, documents in
                try body(documents, job.upperBound)
            }
        } catch let fault as LineFault {
            throw fault.error(file.path, text)
        }
    }

    /// Hands the pairs of `part` of a file to `body`, as the tokens of source and target, in order.
    ///
    /// - Throws: `LockstepError(.badData)` that names the line, and what `body` throws, a `LineFault` with its line.
    func runPairs(
        _ file: PairFile, in part: Range<Int>, body: (TokenizedPair) throws -> Void
    ) throws {
        nonisolated(unsafe) let text = file.bytes
        do {
            try ParallelJobs(workers: encoders).run(LineJobs(text, in: part)) { encoder, job in
                var pairs: [TokenizedPair] = []
                try LineJobs.forEachLine(text, in: job) { line, start in
                    let (source, target) = try file.format.pair(line, at: start)
                    pairs.append(
                        TokenizedPair(
                            source: encoder.encode(source), target: encoder.encode(target), lineStart: start))
                }
                return pairs
            } finish: { _, pairs in
                for pair in pairs { try body(pair) }
            }
        } catch let fault as LineFault {
            throw fault.error(file.path, text)
        }
    }

    private final class Encoder {
        private let tokenizer: any Tokenizer
        private let encoder: any PieceEncoder

        init(_ tokenizer: any Tokenizer) {
            self.tokenizer = tokenizer
            encoder = tokenizer.makeEncoder()
        }

        func encode(_ pieces: some Sequence<TextPiece>, of text: UnsafeRawBufferPointer) -> [Int32] {
            var tokens: [Int32] = []
            for piece in pieces { encoder.encode(piece, of: text, into: &tokens) }
            return tokens
        }

        func encode(_ text: [UInt8]) -> [Int32] {
            text.withUnsafeBytes { encode(tokenizer.pieces(of: $0), of: $0) }
        }

        /// The documents of some lines.
        func encodeDocuments(
            _ text: UnsafeRawBufferPointer, _ format: TextFile.Format, in job: Range<Int>
        ) throws -> [[Int32]] {
            var documents: [[Int32]] = []
            try LineJobs.forEachLine(text, in: job) { line, start in
                guard format == .lines else {
                    documents.append(encode(Array(line)))
                    return
                }
                guard let document = try JSONText(line: line, at: start)["text"]?.bytes else {
                    throw LineFault(
                        start: start, text: "expected an object with a text, {\"text\": \"…\"}")
                }
                documents.append(encode(document))
            }
            return documents
        }
    }
}

extension JSONText {
    /// Reads a line of JSON lines that begins at an offset of its file. Throws a `LineFault`.
    init(line: UnsafeRawBufferPointer, at start: Int) throws {
        do {
            try self.init(line)
        } catch {
            throw LineFault(start: start, text: "\(error.text), at byte \(error.offset) of the line")
        }
    }
}
