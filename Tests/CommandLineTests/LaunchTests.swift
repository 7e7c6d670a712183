import Foundation
import TestSupport
import Testing

/// `launch/run` with a `lockstep` in its place that only says how it was started.
@Suite struct LaunchTests {
    /// A copy of the launch scripts with a stand-in for the program, removed when the value goes.
    private struct Copy: ~Copyable {
        let path = NSTemporaryDirectory() + "/lockstep-launch-\(UUID().uuidString)"

        /// - Parameter body: what the stand-in does, in place of ending with `$SIGNAL` or `$CODE`.
        init(config: String = "name: x\n", _ body: String? = nil) throws {
            let files = FileManager.default
            let source = URL(fileURLWithPath: #filePath + "/../../../launch").standardizedFileURL
            try files.createDirectory(atPath: "\(path)/.build/release", withIntermediateDirectories: true)
            try files.copyItem(atPath: source.path, toPath: "\(path)/launch")
            try Data(config.utf8).write(to: URL(fileURLWithPath: "\(path)/x.yaml"))
            let program = "\(path)/.build/release/lockstep"
            let script = """
                #!/bin/bash
                echo "rank $OMPI_COMM_WORLD_RANK of $OMPI_COMM_WORLD_SIZE, $OPENBLAS_NUM_THREADS threads: $*"
                status() {
                    mkdir -p runs/x && printf '{\\n  "exit_code" : %s,\\n  "state" : "%s"\\n}\\n' "$2" "$1" >runs/x/new
                    mv runs/x/new runs/x/status.json
                }
                \(body ?? "")
                [[ -z ${SIGNAL:-} ]] || kill -"$SIGNAL" $$
                exit "${CODE:-0}"
                """
            try Data(script.utf8).write(to: URL(fileURLWithPath: program))
            try files.setAttributes([.posixPermissions: 0o755], ofItemAtPath: program)
        }

        deinit { try? FileManager.default.removeItem(atPath: path) }

        func run(
            _ arguments: String..., environment: [String: String] = [:], rootIsMeant: Bool = true
        ) throws -> (code: Int32, output: String, errors: String) {
            let process = try start(arguments, environment: environment, rootIsMeant: rootIsMeant)
            process.waitUntilExit()
            return try result(process)
        }

        func result(_ process: Process) throws -> (code: Int32, output: String, errors: String) {
            (
                process.terminationStatus, try String(contentsOfFile: "\(path)/output", encoding: .utf8),
                try String(contentsOfFile: "\(path)/errors", encoding: .utf8)
            )
        }

        func start(
            _ arguments: [String], environment: [String: String] = [:], rootIsMeant: Bool = true
        ) throws -> Process {
            let process = Process()
            process.executableURL = URL(fileURLWithPath: "\(path)/launch/run")
            process.arguments = arguments
            process.currentDirectoryURL = URL(fileURLWithPath: path)
            var variables = ProcessInfo.processInfo.environment
            for name in ["OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] {
                variables[name] = rootIsMeant ? "1" : nil
            }
            process.environment = variables.merging(environment) { $1 }
            let (output, errors) = ("\(path)/output", "\(path)/errors")
            for file in [output, errors] { try Data().write(to: URL(fileURLWithPath: file)) }
            process.standardOutput = FileHandle(forWritingAtPath: output)
            process.standardError = FileHandle(forWritingAtPath: errors)
            try withSignalsUnblocked { try process.run() }
            return process
        }
    }

    @Test func dryRunPrintsTheLineAndNothingElse() throws {
        let copy = try Copy()
        let run = try copy.run("1", "x.yaml", "--dry-run", "--out", "a b", "train.steps=5")
        #expect(run.code == 0)
        #expect(run.errors == "")
        #expect(run.output.hasPrefix("mpirun --quiet -n 1 "))
        #expect(run.output.contains(" -x OPENBLAS_NUM_THREADS=1 "))
        #expect(run.output.contains("/.build/release/lockstep train x.yaml --out a\\ b train.steps=5"))
    }

    @Test(arguments: [
        ("name: x\n", 1), ("parallel: {threads_per_rank: 3, overlap: true}\n", 3),
        ("parallel:\n  threads_per_rank: 2  # two\n", 2), ("# parallel: {threads_per_rank: 9}\n", 1),
    ])
    func threadsComeFromTheConfiguration(config: String, threads: Int) throws {
        let copy = try Copy(config: config)
        // More than any machine has cores for, so that it says how many it would need.
        let run = try copy.run("100000", "x.yaml", "--dry-run")
        #expect(run.errors.contains("100000 ranks × \(threads) threads need"), "\(run)")
        let override = try copy.run("100000", "x.yaml", "--dry-run", "parallel.threads_per_rank=4")
        #expect(override.errors.contains("100000 ranks × 4 threads need"), "\(override)")
    }

    @Test func mistakesAreExplained() throws {
        let copy = try Copy()
        #expect(try copy.run().code == 64)
        #expect(try copy.run("two", "x.yaml").code == 64)
        #expect(try copy.run("2", "none.yaml").code == 66)
        let folder = try copy.run("2", "launch")
        #expect(folder.code == 66 && folder.errors.contains("cannot read the configuration launch"))
        let crowded = try copy.run("100000", "x.yaml", "--dry-run")
        #expect(crowded.code == 78)
        #expect(crowded.errors.contains("100000 ranks × 1 threads need 100000 cores"))
        #expect(crowded.output == "")
    }

    @Test(.enabled(if: geteuid() == 0)) func rootMustBeMeant() throws {
        let copy = try Copy()
        let refused = try copy.run("1", "x.yaml", "--dry-run", rootIsMeant: false)
        #expect(refused.code == 77)
        #expect(refused.errors.contains("OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1"))
        let meant = try copy.run("1", "x.yaml", "--dry-run", "--allow-run-as-root", rootIsMeant: false)
        #expect(meant.code == 0)
        #expect(meant.output.contains(" --allow-run-as-root "))
    }

    @Test func exitCodeIsTheTrainersWithoutWordsOfMpirun() throws {
        let copy = try Copy()
        let run = try copy.run("2", "x.yaml", "--oversubscribe", environment: ["CODE": "78"])
        #expect(run.code == 78)
        #expect(run.errors.split(separator: "\n").count == 1, "\(run.errors)")

        let good = try copy.run("2", "x.yaml", "--oversubscribe", "a=b")
        #expect(good.code == 0)
        let lines = good.output.split(separator: "\n").sorted()
        #expect(lines == (0..<2).map { "rank \($0) of 2, 1 threads: train x.yaml a=b" })
    }

    @Test func crashIsNamed() throws {
        let copy = try Copy()
        let run = try copy.run("1", "x.yaml", "--restarts", "0", environment: ["SIGNAL": "KILL"])
        #expect(run.code == 137)
        #expect(run.errors.contains("ended by signal 9"))
    }

    @Test func aCrashedRunIsResumed() throws {
        let copy = try Copy(
            "[[ $* == *--resume ]] && { status completed 0; exit 0; }; status running null; kill -SEGV $$")
        let run = try copy.run("1", "x.yaml", "a=b")
        #expect(run.code == 0, "\(run.errors)")
        #expect(run.errors.contains("restart 1 of 3 in 2 s"), "\(run.errors)")
        #expect(run.output.split(separator: "\n").map { $0.suffix(8) } == ["yaml a=b", "--resume"])
    }

    @Test func restartsAreBounded() throws {
        let copy = try Copy("status running null; kill -KILL $$")
        let run = try copy.run("1", "x.yaml", "--restarts=1")
        #expect(run.code == 137 && run.output.split(separator: "\n").count == 2, "\(run)")
        #expect(run.errors.contains("after 1 restarts; giving up"), "\(run.errors)")
    }

    /// The code is that of status.json; what the user has to mend is not tried again.
    @Test(arguments: [(81, 1), (82, 82), (74, 74), (75, 0)]) func statusTellsTheCode(code: Int, mpirun: Int)
        throws
    {
        let copy = try Copy("status failed \(code); exit \(mpirun)")
        let run = try copy.run("1", "x.yaml")
        #expect(run.code == Int32(code) && run.output.split(separator: "\n").count == 1, "\(run)")
    }

    /// A status that an earlier run has left says nothing of this one.
    @Test func anOldStatusIsNotTrusted() throws {
        let copy = try Copy("[[ -e runs/x/status.json ]] && exit 73; status completed 0; exit 0")
        #expect(try copy.run("1", "x.yaml").code == 0)
        #expect(try copy.run("1", "x.yaml").code == 73)
    }

    @Test(arguments: [SIGTERM, SIGINT, SIGUSR1]) func aSignalIsARequestToSave(signal: Int32) throws {
        let copy = try Copy(
            "trap 'status preempted 75; exit 75' USR1; status running null; : >ready; while :; do sleep 0.1; done"
        )
        let process = try copy.start(["1", "x.yaml"])
        while process.isRunning, !FileManager.default.fileExists(atPath: "\(copy.path)/ready") {
            usleep(10_000)
        }
        kill(process.processIdentifier, signal)
        process.waitUntilExit()
        let run = try copy.result(process)
        #expect(run.code == 75 && run.output.split(separator: "\n").count == 1, "\(run)")
    }

    /// Neither with mpirun nor with launch/run gone does a rank stay.
    @Test(arguments: [true, false]) func noRankIsLeft(killsMpirun: Bool) throws {
        let copy = try Copy("status running null; echo $$ $PPID >ready; exec sleep 1000")
        let process = try copy.start(["1", "x.yaml", "--restarts", "0"])
        var numbers: [Int32] = []
        while process.isRunning, numbers.count < 2 {
            let text = (try? String(contentsOfFile: "\(copy.path)/ready", encoding: .utf8)) ?? ""
            numbers = text.split(whereSeparator: \.isWhitespace).compactMap { Int32($0) }
            usleep(10_000)
        }
        try #require(numbers.count == 2)
        kill(killsMpirun ? numbers[1] : process.processIdentifier, SIGKILL)
        process.waitUntilExit()
        var looks = 0
        while runs(numbers[0]), looks < 150 {
            usleep(100_000)
            looks += 1
        }
        #expect(looks < 150, "a rank is left")
    }

    /// Open MPI's mpirun locks itself when a rank dies while it connects: its ranks stay zombies.
    @Test func anMpirunThatNoticesNothingIsEnded() throws {
        let copy = try Copy()
        let locked = """
            #!/bin/bash
            [[ $1 == --version ]] && { echo "mpirun (Open MPI) 4"; exit; }
            sleep 0.1 &
            exec sleep 1000
            """
        try Data(locked.utf8).write(to: URL(fileURLWithPath: "\(copy.path)/mpirun"))
        try FileManager.default.setAttributes(
            [.posixPermissions: 0o755], ofItemAtPath: "\(copy.path)/mpirun")
        let path = "\(copy.path):\(ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin")"
        let run = try copy.run("1", "x.yaml", "--restarts", "0", environment: ["PATH": path])
        #expect(run.code == 137)
        #expect(run.errors.contains("all ranks here have ended and mpirun does not notice"), "\(run)")
    }

    private func runs(_ process: Int32) -> Bool {
        guard let text = try? String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8) else {
            return false
        }
        return !text[text.lastIndex(of: ")")!...].hasPrefix(") Z")
    }
}
