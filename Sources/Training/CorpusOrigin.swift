import Configs
import Foundation
import Ledger

/// What rank 0 knows of the files that a run's tokens were made of; the other ranks do not.
struct CorpusOrigin {
    /// `DataConfig.corpusDigest`.
    var corpusSHA256 = ""
    var tokenizerSHA256 = ""
    /// Of the validation split's targets; nil when they are not the tokenizer's.
    var bytesPerToken: Double?
}

extension DataConfig {
    /// Of the file at `path` or, where data is generated, of the task: its settings bind a run by themselves.
    var corpusDigest: String {
        get throws {
            task.isGenerated ? Digest.text(of: Data(task.rawValue.utf8)) : try Digest.text(ofFile: path)
        }
    }

    /// Of the tokenizer's file, or of its name when it has none.
    var tokenizerDigest: String {
        get throws {
            switch tokenizer {
            case .bytes: Digest.text(of: Data(tokenizer.name.utf8))
            case .file(let path): try Digest.text(ofFile: path)
            }
        }
    }
}
