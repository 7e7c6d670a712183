import Foundation
import TestSupport
import Testing

/// Wrong input to `lockstep train`: an answer on one voice, and nothing left behind.
@Suite(.serialized) struct TrainInputTests {
    /// Arguments behind `lockstep`; CONFIG, RUN and FOLDER stand for paths.
    struct Mistake: CustomTestStringConvertible {
        let arguments: [String]
        let answer: Answer
        var testDescription: String { arguments.joined(separator: " ") }

        /// To `train` with a good configuration and these settings on top.
        static func setting(_ settings: String..., is answer: Answer) -> Mistake {
            Mistake(arguments: ["train", "CONFIG", "--out", "RUN"] + settings, answer: answer)
        }

        static func command(_ arguments: String..., is answer: Answer) -> Mistake {
            Mistake(arguments: arguments, answer: answer)
        }
    }

    private static let ofSettings: [Mistake] = [
        .setting("model.d_modle=3", is: Answer(78, "model.d_modle", "did you mean model.d_model?")),
        .setting("model.num_layers=two", is: Answer(78, "model.num_layers", "a whole number", "two")),
        .setting(
            "model.num_heads=5", is: Answer(78, "model.d_model 36", "model.num_heads 5", "1, 2, 3, 4, 6")),
        .setting(
            "train.global_batch=13", is: Answer(78, "train.global_batch 13", "1, 13 ranks", "use 12 or 14")),
        .setting("train.micro_batch=4", is: Answer(78, "train.micro_batch 4", "use 1, 2, 3, 6 or auto")),
        .setting("train.steps=0", is: Answer(78, "train.steps is 0", "from 1")),
        .setting("train.steps=-3", is: Answer(78, "train.steps is -3", "from 1")),
        .setting("train.steps", is: Answer(64, "train.steps", "key.path=value")),
        .setting("model.num_layers=2147483647", is: Answer(78, "model.num_layers", "to 65536")),
    ]

    private static let ofCorpora: [Mistake] = [
        .setting(
            "model.context_length=5000", "train.micro_batch=1",
            is: Answer(78, "validation split has", "model.context_length", "data.validation_fraction")),
        .setting(
            "data.validation_fraction=0.999", is: Answer(78, "train split", "lower data.validation_fraction")),
        .setting("data.path=FOLDER/none.txt", is: Answer(66, "FOLDER/none.txt", "data.path")),
        .setting("data.path=FOLDER/empty.txt", is: Answer(65, "FOLDER/empty.txt", "empty", "data.path")),
        .setting("data.path=FOLDER", is: Answer(65, "FOLDER is a folder", "data.path")),
        .setting("data.path=/dev/zero", is: Answer(65, "/dev/zero", "not a regular file")),
        // Root may read everything, so that a name too long stands for what cannot be read.
        .setting(
            "data.path=/" + String(repeating: "x", count: 300),
            is: Answer(74, "Cannot read", "File name too long")),
        .setting("data.path=FOLDER/other.bin", is: Answer(65, "other.bin, offset 0", "20240520")),
        .setting("data.path=FOLDER/cut.bin", is: Answer(65, "cut.bin, offset 1044", "11024")),
        .setting(
            "data.path=FOLDER/wide.bin", is: Answer(65, "wide.bin, offset 1224", "id 300", "model.vocab_size")
        ),
    ]

    private static let ofFiles: [Mistake] = [
        .command("train", "FOLDER/none.yaml", is: Answer(66, "none.yaml", "No such file")),
        .command("train", "FOLDER", is: Answer(66, "FOLDER", "Is a directory")),
        .command("train", "FOLDER/garbage.yaml", is: Answer(78, "garbage.yaml", "UTF-8")),
        .command("train", "FOLDER/unfinished.yaml", is: Answer(78, "unfinished.yaml:2", "YAML")),
        .command(
            "train", "CONFIG", "--out", "FOLDER/empty.txt/run", is: Answer(73, "empty.txt/run", "--out")),
        .command("train", "CONFIG", "--out", "/proc/none/run", is: Answer(73, "/proc/none/run", "--out")),
        .command(
            "train", "CONFIG", "--out", "FOLDER/old", is: Answer(73, "FOLDER/old", "ledger.jsonl", "--out")),
    ]

    /// Each of these would end in the kernel's killing the job, or in a number that overflows.
    private static let ofSizes: [Mistake] = [
        .setting(
            "model.vocab_size=2000000000", "model.d_model=9000",
            is: Answer(78, "not enough memory", "model.vocab_size", "more than")),
        .setting(
            "train.global_batch=2000000000", "train.micro_batch=1000000000",
            is: Answer(78, "not enough memory", "2 ranks need", "train.micro_batch=500000000 saves 33.5 TiB")),
        .setting(
            "model.d_model=2147483646", "model.vocab_size=2147483647", is: Answer(78, "64 bits", "model")),
    ]

    private static let ofCommands: [Mistake] = [
        .command("trian", "CONFIG", is: Answer(64, "trian", "did you mean train?")),
        .command("train", "CONFIG", "--resmue", is: Answer(64, "--resmue", "lockstep train --help")),
        .command("train", is: Answer(64, "<config>", "lockstep train --help")),
        .command("verify", "FOLDER/none", is: Answer(66, "FOLDER/none", "lockstep train")),
        .command("evaluate", "FOLDER/none", is: Answer(66, "FOLDER/none", "lockstep train")),
        .command("generate", "FOLDER/none", "--prompt", "a", is: Answer(66, "FOLDER/none", "lockstep train")),
    ]

    @Test(arguments: ofSettings + ofCorpora + ofFiles + ofSizes + ofCommands)
    func isAnsweredOnOneVoice(_ mistake: Mistake) throws { try check(mistake, ranks: 2) }

    /// One of each kind: found in the arguments, in the configuration, by rank 0 alone, by the launcher's numbers.
    @Test(
        arguments: [ofCommands[0], ofCommands[3], ofSettings[0], ofCorpora[2], ofFiles[6], ofSizes[0]],
        [1, 4])
    func isAnsweredOnOneVoiceByAnyNumberOfRanks(_ mistake: Mistake, ranks: Int) throws {
        try check(mistake, ranks: ranks)
    }

    private func check(_ mistake: Mistake, ranks: Int) throws {
        let experiment = try Experiment()
        let config = try experiment.arguments("good", [])[1]
        try experiment.write([], to: "empty.txt")
        try experiment.write((0..<999).map { UInt8($0 * 7 % 256) }, to: "garbage.yaml")
        try experiment.write("name: x\nmodel: ]\n".utf8, to: "unfinished.yaml")
        try experiment.write("plain text is no shard".utf8, to: "other.bin")
        try experiment.write(shard(Array(repeating: 1, count: 10), claiming: 5000), to: "cut.bin")
        try experiment.write(shard((0..<3000).map { $0 == 100 ? 300 : 1 }), to: "wide.bin")
        try FileManager.default.createDirectory(
            atPath: "\(experiment.folder)/old", withIntermediateDirectories: true)
        try experiment.write("mine".utf8, to: "old/ledger.jsonl")

        func resolved(_ text: String) -> String {
            text.replacing("CONFIG", with: config).replacing("RUN", with: experiment.run("good").path)
                .replacing("FOLDER", with: experiment.folder)
        }
        let before = try FileManager.default.subpathsOfDirectory(atPath: experiment.folder).sorted()
        let result = try lockstep(ranks: ranks, mistake.arguments.map(resolved))
        let answer = Answer(mistake.answer.code, words: mistake.answer.words.map(resolved))
        answer.check(result)
        #expect(try FileManager.default.subpathsOfDirectory(atPath: experiment.folder).sorted() == before)
        #expect(result.seconds < 20)
    }

    /// A token shard of llm.c's format, whose header may claim another number of tokens.
    private func shard(_ tokens: [UInt16], claiming count: Int32? = nil) -> Data {
        var header = [Int32](repeating: 0, count: 256)
        header[0...2] = [20_240_520, 1, count ?? Int32(tokens.count)]
        return header.withUnsafeBytes { Data($0) } + tokens.withUnsafeBytes { Data($0) }
    }

    @Test(arguments: [1, 4]) func tooFewCoresAreNamedOnce(ranks: Int) throws {
        let experiment = try Experiment()
        let threads = ProcessInfo.processInfo.activeProcessorCount + 1
        let result = try experiment.train(
            "run", ranks: ranks, "parallel.threads_per_rank=\(threads)", "train.steps=2")
        #expect(result.exitCode == 0, "\(result.standardError)")
        let warnings = result.standardError.split(separator: "\n").filter {
            $0.hasPrefix("lockstep: warning: ")
        }
        #expect(warnings.count == 1, "\(result.standardError)")
        #expect(warnings.first?.contains("\(ranks) × \(threads)") == true)
        #expect(warnings.first?.contains("need \(ranks * threads) cores") == true)
        #expect(warnings.first?.contains("parallel.threads_per_rank") == true)
    }

    /// Ranks that a launcher binds to different cores have them all together.
    @Test func enoughCoresAreNotNamed() throws {
        let experiment = try Experiment()
        let isRoomForTwo = try lockstep(["doctor", "--ranks", "2"]).standardOutput.contains("2 × 1 of")
        let result = try experiment.train("run", ranks: isRoomForTwo ? 2 : 1, "train.steps=2")
        #expect(result.exitCode == 0 && !result.standardError.contains("warning"), "\(result.standardError)")
    }

    /// Only the checkpoint would come after: its numbers would be worthless.
    @Test(arguments: [1, 2]) func aModelThatIsNoNumberIsNotSaved(ranks: Int) throws {
        let experiment = try Experiment()
        let result = try experiment.train(
            "run", ranks: ranks, "train.steps=1", "train.optimizer.learning_rate=1e38",
            "train.schedule.warmup_steps=0")
        Answer(81, "step 1", "validation loss", "train.optimizer.learning_rate").check(result)
        let run = experiment.run("run").path
        #expect(try FileManager.default.contentsOfDirectory(atPath: run + "/checkpoints") == [])
        #expect(try String(contentsOfFile: run + "/status.json", encoding: .utf8).contains("\"failed\""))
    }
}
