import Configs

extension TokenShard {
    /// Encodes a text file, or JSON lines (`.jsonl`) of documents, into the shard `output` on `threads` threads. Returns the
    /// number of tokens.
    ///
    /// - Parameters:
    ///   - layout: of the shard; `.bare` only for at most 65,536 ids.
    ///   - progress: is told now and then which share of the text is done.
    /// - Throws: `LockstepError`: `.inputMissing`, `.badData` (empty, too long, a line that is no document),
    ///   `.badConfiguration` (too many ids), `.cannotCreate`, `.inputOutput`.
    public static func encode(
        path: String, with tokenizer: any Tokenizer, to output: String, layout: Layout = .header,
        threads: Int,
        progress: (Double) -> Void = { _ in }
    ) throws -> Int {
        guard layout == .header || tokenizer.vocabSize <= 1 << 16 else {
            throw LockstepError(
                .badConfiguration,
                "\(output): the tokenizer has \(tokenizer.vocabSize) ids, but 16 bits hold 65,536. Write a shard with a header."
            )
        }
        let text = try TextFile(
            path: path, format: path.hasSuffix(".jsonl") ? .lines : .plain, remedy: "Give a text file.")
        let size = text.bytes.count
        return try write(
            text, in: 0..<size, ParallelEncoding(tokenizer, threads: threads), to: output, layout: layout
        ) { progress(Double($0) / Double(size)) }
    }

    /// - Parameter progress: is told how many bytes of the text are done.
    static func write(
        _ text: TextFile, in part: Range<Int>, _ encoding: ParallelEncoding, to path: String,
        layout: Layout = .header, progress: (Int) -> Void
    ) throws -> Int {
        var writer = try TokenShardWriter(
            path: path, vocabSize: encoding.tokenizer.vocabSize, layout: layout)
        var count = 0
        try encoding.run(text, in: part) { tokens, end in
            try writer.append(tokens)
            count += tokens.count
            progress(end)
        }
        try writer.finish()
        return count
    }
}
