import Configs

/// A file of text, mapped into memory.
struct TextFile {
    enum Format {
        /// All of the file is one text.
        case plain
        /// JSON lines, a document each: `{"text": "…"}`.
        case lines
    }

    let format: Format
    private let file: MappedFile

    var path: String { file.path }
    var bytes: UnsafeRawBufferPointer { file.bytes }

    /// - Throws: `LockstepError`: `.inputMissing`, `.inputOutput`, and `.badData` when the file is empty.
    init(path: String, format: Format, remedy: String) throws {
        self.format = format
        file = try MappedFile(path: path, remedy: remedy)
        guard !file.bytes.isEmpty else { throw LockstepError(.badData, "\(path) is empty. \(remedy)") }
    }

    /// Where to cut the text in two, at `target` or a little behind it.
    func boundary(near target: Int, _ tokenizer: any Tokenizer) -> Int {
        let text = bytes
        switch format {
        case .lines: return lineEnd(text, from: max(0, target - 1))
        case .plain:
            // A byte is cut from the next one wherever that is.
            if tokenizer is ByteTokenizer { return target }
            let window = max(1, target)..<max(1, min(text.count, target + 4096))
            return window.first { text[$0 - 1] == 0x0A }
                ?? window.first { WordSplitter.endsWord(text, before: $0) }
                ?? window.first { text[$0] & 0xC0 != 0x80 } ?? target
        }
    }

    /// About how many tokens the file has, from some samples of it; nil when it is no text of its format.
    func tokenCount(_ tokenizer: any Tokenizer) -> Int? {
        if format == .plain && tokenizer is ByteTokenizer { return bytes.count }
        let (samples, sampleBytes) = (16, 1 << 14)
        let encoding = ParallelEncoding(tokenizer, threads: 1)
        var (read, tokens) = (0, 0)
        for index in 0..<(bytes.count <= sampleBytes ? 1 : samples) {
            let start = max(0, index * (bytes.count - sampleBytes) / (samples - 1))
            var part = start..<min(bytes.count, start + sampleBytes)
            if format == .lines {
                let first = start == 0 ? 0 : lineEnd(bytes, from: start - 1)
                part = first..<max(first, lineEnd(bytes, from: part.upperBound - 1))
            }
            read += part.count
            do {
                try encoding.run(self, in: part) { part, _ in tokens += part.count }
            } catch {
                return nil
            }
        }
        return read == 0 ? nil : Int(Double(tokens) / Double(read) * Double(bytes.count))
    }
}
