import Foundation
import TestSupport
import Testing

/// Standard streams and disks that do not take what is written, and the forms of what is.
@Suite(.serialized) struct OutputTests {
    @Test(arguments: [
        "estimate", "train", "plan", "verify", "evaluate", "generate", "export", "import", "doctor",
    ])
    func helpHasAnExample(command: String) throws {
        let result = try lockstep([command, "--help"])
        #expect(result.exitCode == 0 && result.standardError == "")
        #expect(result.standardOutput.contains("Example:"))
        #expect(result.standardOutput.contains("  lockstep \(command) ") || command == "train")
        #expect(try lockstep(["--help"]).standardOutput.contains("  \(command) "))
    }

    @Test func jsonIsAllThereIs() throws {
        let experiment = try Experiment()
        let config = try experiment.arguments("run", [])[1]
        #expect(try experiment.train("run", ranks: 1).exitCode == 0)
        let run = experiment.run("run").path
        let commands = [
            ["estimate", config, "--no-profile"], ["estimate", config, "--no-profile", "--ranks", "1,2"],
            ["estimate", config, "--no-profile", "--inference"],
            ["verify", run], ["evaluate", run],
            ["generate", run, "--prompt", "in", "--tokens", "4", "--verify", "--no-profile"],
            ["doctor"],
        ]
        for command in commands {
            let result = try lockstep(command + ["--json"])
            let json = try JSONSerialization.jsonObject(with: Data(result.standardOutput.utf8))
            let version = command.contains("--inference") ? 2 : 1
            #expect((json as? [String: Any])?["schema_version"] as? Int == version, "\(command)")
            #expect(result.standardError == "")
        }
    }

    /// Whoever has an older version's profile works on without one, and is told so; only a profile asked for by name is needed.
    @Test func aProfileOfAnOlderVersionDoesNotStopAnything() throws {
        let experiment = try Experiment()
        let config = try experiment.arguments("run", [])[1]
        let home = URL(filePath: experiment.folder).appending(path: "data/lockstep")
        try FileManager.default.createDirectory(at: home, withIntermediateDirectories: true)
        let profile = home.appending(path: "profile.json")
        try Data(#"{"schema_version": 1}"#.utf8).write(to: profile)
        let environment = ["XDG_DATA_HOME": "\(experiment.folder)/data"]
        let result = try lockstep(["estimate", config], environment: environment)
        #expect(result.exitCode == 0 && result.standardOutput.contains("not calibrated"))
        #expect(result.standardError.contains("not calibrated for this version"))
        Answer(65, "profile.json", "schema_version is 1", "calibrate").check(
            try lockstep(["estimate", config, "--profile", profile.path], environment: environment))
    }

    @Test func generatingFromSourcesIsEstimated() throws {
        let config = FileManager.default.currentDirectoryPath + "/configs/reverse-words.yaml"
        let estimate = ["estimate", config, "--no-profile", "--inference", "--sequences", "3"]
        let result = try lockstep(estimate + ["--prompt-tokens", "18"])
        #expect(result.exitCode == 0, "\(result.standardError)")
        #expect(result.standardOutput.contains("Generating: 3 targets of 18 tokens, sources of 18 tokens"))
        Answer(64, "--prompt-tokens", "model.source_length, 18", "19").check(
            try lockstep(estimate + ["--prompt-tokens", "19"]))
        Answer(64, "--length", "model.context_length").check(
            try lockstep(estimate + ["model.context_length=1", "data.generated.max_length=1"]))
    }

    /// A target of as many tokens as are asked for is timed, and shown up to its end; arenas are as estimated.
    @Test func generatingFromSourcesIsVerified() throws {
        let experiment = try Experiment()
        let trained = try mpirun(
            ranks: 1, program: "lockstep",
            arguments: try experiment.arguments(
                "run",
                [
                    "model.family=encoder-decoder", "model.encoder_layers=1", "model.source_length=17",
                    "data.task=copy", "data.path=''", "data.generated.max_length=6",
                    "data.generated.samples=200",
                ]), timeout: 120)
        try #require(trained.exitCode == 0, "\(trained.standardError)")
        let run = experiment.run("run").path
        let generate = ["generate", run, "--prompt", "abc", "--prompt", "fedcba"]
        let text = try lockstep(generate + ["--tokens", "10"])
        let verified = try lockstep(generate + ["--tokens", "10", "--verify", "--no-profile"])
        #expect(verified.exitCode == 0, "\(verified.standardOutput)")
        #expect(verified.standardOutput.hasPrefix(text.standardOutput))
        #expect(verified.standardOutput.contains("all 5 exact terms exact"), "\(verified.standardOutput)")
        let json = try lockstep(generate + ["--verify", "--no-profile", "--json", "--tokens", "7"])
        let answer = try #require(
            JSONSerialization.jsonObject(with: Data(json.standardOutput.utf8)) as? [String: Any])
        #expect(answer["steps"] as? Int == 7)
    }

    @Test func theDoctorSumsUp() throws {
        let result = try lockstep(["doctor"])
        let text = result.standardOutput
        let json = try lockstep(["doctor", "--json"]).standardOutput
        #expect(!text.contains("\0") && !json.contains("\\u0000"))
    }

    @Test func theDoctorNamesTheBF16Products() throws {
        let emulated = try shell("LOCKSTEP_ISA=emulated lockstep doctor --json", folder: "").standardOutput
        let report = try JSONSerialization.jsonObject(with: Data(emulated.utf8)) as? [String: Any]
        let software = try #require(report?["software"] as? [String: Any])
        #expect((software["bf16_products"] as? String)?.hasPrefix("emulated: ") == true)
        let unknown = try shell("LOCKSTEP_ISA=avx lockstep doctor", folder: "")
        #expect(unknown.standardOutput.contains("LOCKSTEP_ISA=avx names no instructions"))
        #expect(unknown.exitCode == 1)
    }

    @Test(arguments: [
        "estimate $FOLDER/run.yaml --no-profile", "estimate $FOLDER/run.yaml --no-profile --json",
        "verify $FOLDER/runs/run",
        "verify $FOLDER/runs/run --json", "evaluate $FOLDER/runs/run",
        "generate $FOLDER/runs/run --prompt a --tokens 3", "doctor", "doctor --json",
    ])
    func outputThatIsLostIsAnError(command: String) throws {
        let folder = try Self.trained.get().folder.folder
        Answer(74, "standard output", "No space left").check(
            try shell("lockstep \(command) > /dev/full", folder: folder))
        // A reader that has seen enough, and a stream that nobody wanted, are none.
        let line = "lockstep \(command) | true; a=${PIPESTATUS[0]}; lockstep \(command) >&-; echo $a $?"
        let result = try shell(line, folder: folder)
        #expect(["0 0\n", "1 1\n"].contains(result.standardOutput), "\(result)")
        #expect(result.standardError == "")
    }

    private static let trained = Result {
        let experiment = try Experiment()
        let result = try lockstep(experiment.arguments("run", []))
        try #require(result.exitCode == 0, "\(result.standardError)")
        return Trained(folder: experiment)
    }

    /// Never changed after it was made.
    private struct Trained: @unchecked Sendable { let folder: Experiment }

    /// No file of a run takes the number of a closed stream, and with it the lines meant for the stream.
    @Test(arguments: ["2>&-", "<&- >&- 2>&-", "2>&1 | true"])
    func trainingGoesOnWithoutStreams(redirection: String) throws {
        let experiment = try Experiment()
        _ = try experiment.arguments("run", [])
        let line = "lockstep train $FOLDER/run.yaml --out $FOLDER/out \(redirection); exit ${PIPESTATUS[0]}"
        #expect(try shell(line, folder: experiment.folder).exitCode == 0)
        let grep = try shell("grep -rlE '^(step|.step) +[0-9]+/' $FOLDER/out", folder: experiment.folder)
        #expect(grep.standardOutput == "" && grep.exitCode == 1)
    }

    /// At any size the run either completes, or says that the disk is full, and its status says so too (except where not
    /// even the status has room).
    @Test(.enabled(if: canMount), arguments: [16, 72, 136, 400, 700, 2000])
    func aFullDiskIsNamed(kibibytes: Int) throws {
        let experiment = try Experiment()
        _ = try experiment.arguments("run", [])
        try FileManager.default.createDirectory(
            atPath: experiment.folder + "/disk", withIntermediateDirectories: true)
        let line = """
            mount -t tmpfs -o size=\(kibibytes)k none $FOLDER/disk || exit 99
            lockstep train $FOLDER/run.yaml --out $FOLDER/disk/run; code=$?
            ls $FOLDER/disk; grep state $FOLDER/disk/run/status.json 2>&-
            ls -A $FOLDER/disk/run/checkpoints 2>&-; exit $code
            """
        let result = try shell(line, folder: experiment.folder, isRoot: true)
        let (output, errors) = (result.standardOutput, result.standardError)
        if kibibytes == 2000 { #expect(result.exitCode == 0, "\(errors)") }
        if result.exitCode == 0 {
            #expect(output.contains("completed"))
        } else {
            let isNamed = errors.contains("No space left on device") || errors.contains("but the disk has")
            #expect(result.exitCode == 74 && isNamed, "\(errors)")
            #expect(errors.components(separatedBy: "lockstep: error: ").count == 2, "\(errors)")
            #expect(output == "" || output.contains("failed"), "\(output)")
            #expect(!output.contains(".tmp"), "\(output)")
        }
    }

    /// While it trains, files may no longer be as large as its model: the checkpoints of before stay.
    @Test func aLimitOnTheSizeOfFilesIsNamed() throws {
        let experiment = try Experiment()
        _ = try experiment.arguments("run", [])
        let line = """
            "$LOCKSTEP" train $FOLDER/run.yaml --out $FOLDER/run train.steps=100000 train.checkpoint_every=40 & train=$!
            until [[ -d $FOLDER/run/checkpoints/step-40 ]]; do sleep 0.02; done
            prlimit --pid $train --fsize=65536; wait $train; code=$?
            ls -A $FOLDER/run/checkpoints; grep state $FOLDER/run/status.json
            lockstep evaluate $FOLDER/run || exit 99; exit $code
            """
        let result = try shell(line, folder: experiment.folder)
        let (output, errors) = (result.standardOutput, result.standardError)
        #expect(result.exitCode == 74, "\(errors)")
        #expect(errors.contains("model.safetensors: cannot be written at offset 65536: File too large"))
        #expect(
            output.contains("failed") && output.contains("step-") && !output.contains(".tmp"), "\(output)")
    }

    private static let canMount =
        (try? shell("mount -t tmpfs none /mnt", folder: "", isRoot: true).exitCode) == 0
}
