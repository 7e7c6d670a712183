import Foundation
import Testing

/// `launch/run` with a `lockstep` in its place that only says how it was started.
@Suite struct LaunchTests {
    /// A copy of the launch scripts with a stand-in for the program, removed when the value goes.
    private struct Copy: ~Copyable {
        let path = NSTemporaryDirectory() + "/lockstep-launch-\(UUID().uuidString)"

        init(config: String = "name: x\n") throws {
            let files = FileManager.default
            let source = URL(fileURLWithPath: #filePath + "/../../../launch").standardizedFileURL
            try files.createDirectory(atPath: "\(path)/.build/release", withIntermediateDirectories: true)
            try files.copyItem(atPath: source.path, toPath: "\(path)/launch")
            try Data(config.utf8).write(to: URL(fileURLWithPath: "\(path)/x.yaml"))
            let program = "\(path)/.build/release/lockstep"
            let script = """
                #!/bin/bash
                echo "rank $OMPI_COMM_WORLD_RANK of $OMPI_COMM_WORLD_SIZE, $OPENBLAS_NUM_THREADS threads: $*"
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
            try process.run()
            process.waitUntilExit()
            return (
                process.terminationStatus, try String(contentsOfFile: output, encoding: .utf8),
                try String(contentsOfFile: errors, encoding: .utf8)
            )
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
        let run = try copy.run("1", "x.yaml", environment: ["SIGNAL": "KILL"])
        #expect(run.code == 137)
        #expect(run.errors.contains("ended by signal 9"))
    }
}
