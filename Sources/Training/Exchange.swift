import Configs
import Corpus
import Foundation
import Interchange
import Ledger
import MessagePassing
import Transformer

/// Writes a checkpoint of the run in `directory` as a Hugging Face model into `folder`. Returns the checkpoint's step.
///
/// - Throws: `LockstepError`: of a run without such a checkpoint, `.cannotCreate`, `.inputOutput`.
public func exportRun(
    _ directory: String, _ checkpoint: CheckpointChoice, to folder: String
) throws -> Int {
    let run = try RunDirectory(existing: directory)
    let model = try LoadedModel(run, checkpoint, for: .parameters)
    let data = model.config.data
    let tokenizer: ExportedTokenizer? =
        switch data.tokenizer {
        // The tokens of a shard may be those of any tokenizer.
        case .bytes: data.shardLayout == nil ? .bytes : nil
        case .file: .file(PreparedCorpus.tokenizerPath(in: run.data))
        }
    try PretrainedModel.save(
        model.config.model, layout: model.network.layout, parameters: model.network.parameters,
        tokenizer: tokenizer, to: folder)
    return model.step
}

/// Reads the Hugging Face checkpoint in `folder` whole, and writes a configuration that fine-tunes it to the new file
/// `path`. Returns its number of parameters.
///
/// - Throws: `LockstepError`: `.inputMissing`, `.badConfiguration`, `.badData` when it is not a model of this program,
///   `.cannotCreate` when there is a file already.
public func importModel(_ folder: String, to path: String) throws -> Int {
    guard !FileManager.default.fileExists(atPath: path) else {
        throw LockstepError(.cannotCreate, "\(path): there is a file already; name another one with --out")
    }
    let model = try LoadedModel(pretrained: folder, for: .parameters)
    let newline = Int(try model.config.data.tokenizer.makeTokenizer().token(ofByte: 0x0A))
    if let markers = try PretrainedConfig.read(folder).targetMarkers, markers != (newline, newline) {
        reportToStandardError(
            "lockstep: warning: \(folder): its targets begin with token \(markers.start) and end with token \(markers.end); here "
                + "both are the newline of its tokenizer, \(newline), which training has to teach it")
    }
    try FileWriter.write(Data(model.config.yaml().utf8), to: path)
    return model.network.layout.count
}
