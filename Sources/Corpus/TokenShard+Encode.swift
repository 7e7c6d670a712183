import Configs

extension TokenShard {
    /// Encodes a text file into the shard `output` on `threads` threads. Returns the number of tokens.
    ///
    /// - Parameter progress: is told now and then which share of the text is done.
    /// - Throws: `LockstepError`: `.inputMissing`, `.badData` (empty, too long), `.cannotCreate`, `.inputOutput`.
    public static func encode(
        path: String, with tokenizer: any Tokenizer, to output: String, threads: Int,
        progress: (Double) -> Void = { _ in }
    ) throws -> Int {
        let text = try MappedFile(path: path, remedy: "Give a text file.")
        guard !text.bytes.isEmpty else { throw LockstepError(.badData, "\(path) is empty. Give a text.") }
        return try write(text.bytes, ParallelEncoding(tokenizer, threads: threads), to: output) { end in
            progress(Double(end) / Double(text.bytes.count))
        }
    }

    /// - Parameter progress: is told how many bytes of the text are done.
    static func write(
        _ text: UnsafeRawBufferPointer, _ encoding: ParallelEncoding, to path: String, progress: (Int) -> Void
    ) throws -> Int {
        var writer = try TokenShardWriter(path: path, vocabSize: encoding.tokenizer.vocabSize)
        var count = 0
        try encoding.run(text) { tokens, end in
            try writer.append(tokens)
            count += tokens.count
            progress(end)
        }
        try writer.finish()
        return count
    }
}
