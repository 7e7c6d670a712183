import Configs

extension PreparedCorpus {
    /// Writes the documents of both splits; the file is cut at a line.
    static func prepareDocuments(
        _ text: TextFile, _ data: DataConfig, _ encoding: ParallelEncoding, contextLength: Int,
        directory: String, progress: (Double) -> Void
    ) throws {
        try createFolder(directory)
        try data.keepTokenizer(in: directory)
        let size = text.bytes.count
        let target = size - Int((Double(size) * data.validationFraction).rounded())
        let boundary = lineEnd(text.bytes, from: max(0, target - 1))
        for (split, range) in [(Split.train, 0..<boundary), (.validation, boundary..<size)] {
            var writer = try DocumentShardWriter(
                path: shardPath(split, in: directory), encoding.tokenizer, longest: contextLength)
            try encoding.runDocuments(text, in: range) { documents, end in
                for document in documents { try writer.append(document) }
                progress(Double(end) / Double(size))
            }
            guard writer.count > 0 else {
                throw LockstepError(
                    .badConfiguration,
                    "\(text.path): the \(split.rawValue) split has no documents, of \(size) bytes with "
                        + "data.validation_fraction \(data.validationFraction). Use a file of more documents, or change "
                        + "the fraction.")
            }
            try writer.finish()
        }
    }
}
