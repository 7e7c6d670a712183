import Configs
import Corpus
import Foundation
import Interchange
import Ledger
import MessagePassing

extension PreparedCorpus {
    /// Rank 0 makes the shards, then every rank opens them; on rank 0 with what it knows of the files they were made of.
    static func open(
        _ config: RunConfig, run: RunDirectory, reports: Bool, on world: borrowing Communicator
    ) throws -> (corpus: PreparedCorpus, origin: CorpusOrigin) {
        let data = config.data
        try world.collectively {
            guard world.rank == 0 else { return }
            try FileWriter.write(Data(config.yaml().utf8), to: run.config)
            var progress = ShareProgress(data.path, done: "encoded", reports: reports)
            try PreparedCorpus.prepare(
                data: data, vocabSize: config.model.vocabSize, contextLength: config.model.contextLength,
                sourceLength: config.model.sourceLength, directory: run.data,
                threads: config.parallel.threadsPerRank
            ) { progress.note($0) }
        }
        try Preflight.compare(
            corpus: PreparedCorpus.files(data: data, directory: run.data), on: world)
        return try world.collectively {
            let corpus = try PreparedCorpus.open(
                data: data, contextLength: config.model.contextLength,
                sourceLength: config.model.sourceLength, seed: config.train.seed, directory: run.data)
            guard world.rank == 0 else { return (corpus, CorpusOrigin()) }
            let tokenizer = try PreparedCorpus.tokenizer(data, directory: run.data)
            return (
                corpus,
                CorpusOrigin(
                    corpusSHA256: try data.corpusDigest,
                    tokenizerSHA256: try data.tokenizerDigest,
                    bytesPerToken: try corpus.validation.bytesPerTarget(tokenizer))
            )
        }
    }
}
