import Foundation
import TestSupport
import Testing

/// `launch/virtual-cluster`: refusals, and training over two nodes.
@Suite(.serialized) struct VirtualClusterTests {
    private static let script = project.appending(path: "launch/virtual-cluster")

    /// Whether this process may make network namespaces with a bridge and a shaped link in them.
    private static let isPossible: Bool = {
        let line =
            "ip link add name bridge type bridge && ip link add name left type veth peer name right && "
            + "tc qdisc add dev left root tbf rate 1gbit burst 32kb latency 20ms"
        let trial = try? run(
            URL(filePath: "/usr/bin/env"), ["unshare", "--net", "--uts", "bash", "-c", line])
        return geteuid() == 0 && trial?.exitCode == 0
    }()

    private static let reason: Comment = "needs root, iproute2, and a kernel with network namespaces and tbf"

    @Test(arguments: [
        (["2"], "no command"), (["0", "--", "true"], "from 1 to 64"), (["65", "--", "true"], "from 1 to 64"),
        (["two", "--", "true"], "from 1 to 64"), (["2", "3", "--", "true"], "behind --"),
        (["2", "--rate", "fast", "--", "true"], "such as 1gbit"),
        (["2", "--rate", "1kbit", "--", "true"], "from 1mbit to 100gbit"),
        (["2", "--rate"], "needs a value"),
        (["2", "--ranks-per-node", "0", "--", "true"], "a whole number from 1"),
        (["2", "--speed", "1gbit", "--", "true"], "--speed is not an option"), ([], "usage:"),
    ])
    func mistakesAreExplained(arguments: [String], words: String) throws {
        let result = try run(Self.script, arguments)
        #expect(result.exitCode == 64)
        #expect(result.standardError.contains(words), "\(result.standardError)")
    }

    @Test func missingProgramIsNamed() throws {
        let result = try run(Self.script, ["2", "--", "/none/lockstep"])
        #expect(result.exitCode == 66)
        #expect(result.standardError.contains("/none/lockstep"))
    }

    @Test(.enabled(if: geteuid() == 0)) func rootIsNeeded() throws {
        // A copy that an ordinary user can read.
        let line = """
            folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT && cp -r "$LAUNCH" "$folder/launch"
            chmod -R a+rX "$folder"
            setpriv --reuid 65534 --clear-groups "$folder/launch/virtual-cluster" 1 -- true
            """
        let launch = Self.script.deletingLastPathComponent().path
        let result = try run(URL(filePath: "/bin/bash"), ["-c", line], environment: ["LAUNCH": launch])
        #expect(result.exitCode == 77)
        #expect(result.standardError.contains("a virtual cluster needs root"))
    }

    @Test(.enabled(if: isPossible, reason)) func nodesLearnWhatOneMachineLearns() throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "cluster-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: folder) }
        func words(_ run: String) -> [String] {
            [
                "train", project.appending(path: "configs/tiny.yaml").path, "--out",
                folder.appending(path: run).path,
                "data.path=\(project.path)/data/kjv.txt", "train.steps=4", "train.evaluate_every=0",
            ]
        }
        let clustered = try run(
            Self.script,
            ["2", "--allow-run-as-root", "--", builtProduct("lockstep").path] + words("cluster"))
        #expect(clustered.exitCode == 0, "\(clustered.standardError)")
        #expect(clustered.standardError.contains("\nmpirun --quiet -n 2 --hostfile "))
        let machine = try mpirun(ranks: 2, program: "lockstep", arguments: words("machine"))
        #expect(machine.exitCode == 0, "\(machine.standardError)")

        let there = try ledger(folder.appending(path: "cluster"))
        let here = try ledger(folder.appending(path: "machine"))
        #expect(there.count == 8 && here.count == 8)
        #expect(there.map(\.host) == (0..<4).flatMap { _ in ["node1", "node2"] })
        for (a, b) in zip(there, here) { #expect(abs(a.loss - b.loss) <= 1e-6) }
        try checkNothingIsLeft(of: clustered)
    }

    @Test(.enabled(if: isPossible, reason)) func exitCodeIsTheCommands() throws {
        let result = try run(Self.script, ["2", "--allow-run-as-root", "--", "bash", "-c", "exit 78"])
        #expect(result.exitCode == 78, "\(result.standardError)")
        try checkNothingIsLeft(of: result)
    }

    @Test(.enabled(if: isPossible, reason), arguments: ["TERM", "KILL"])
    func nothingIsLeftWhenInterrupted(signal: String) throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "cluster-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        // Interrupted as soon as both ranks run.
        let line = """
            "$SCRIPT" 2 --allow-run-as-root -- bash -c ': >"$FOLDER/$OMPI_COMM_WORLD_RANK"; exec sleep 1000' &
            for ((i = 0; i < 400; i++)); do [[ -e $FOLDER/0 && -e $FOLDER/1 ]] && break; sleep 0.05; done
            kill -\(signal) $!
            wait $!
            """
        // The thread that starts the process may block signals, and children inherit that; here they must come through.
        let unblock = "sigprocmask(SIG_SETMASK, POSIX::SigSet->new); exec @ARGV"
        let result = try run(
            URL(filePath: "/usr/bin/perl"), ["-MPOSIX", "-e", unblock, "/bin/bash", "-c", line],
            environment: ["SCRIPT": Self.script.path, "FOLDER": folder.path])
        #expect(result.exitCode == (signal == "KILL" ? 137 : 1), "\(result)")
        #expect(FileManager.default.fileExists(atPath: folder.appending(path: "1").path))
        try checkNothingIsLeft(of: result)
    }

    /// Checks that the files and processes of a cluster go, at most ten seconds after its end. Its devices are in none but
    /// its own namespaces.
    private func checkNothingIsLeft(
        of result: CommandResult, sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let match = try #require(result.standardError.firstMatch(of: /--hostfile (\S+)\/hosts/))
        // Launcher and daemons name the folder in their arguments; the ranks have the launcher's variables.
        let line = """
            for ((i = 0; i < 100; i++)); do
                left=$(ls -d $PATTERN 2>/dev/null; grep -lsaE "$PATTERN" /proc/[0-9]*/environ /proc/[0-9]*/cmdline)
                [[ -n $left ]] || break
                sleep 0.1
            done
            echo "$left"
            ip netns list
            """
        // A pattern that does not match itself, so that this shell and its grep are not found.
        let scratch = String(match.1)
        let pattern = "\(scratch.dropLast())[\(scratch.suffix(1))]"
        let left = try run(
            URL(filePath: "/bin/bash"), ["-c", line],
            environment: ["PATTERN": pattern]
        ).standardOutput.trimmingCharacters(in: .whitespacesAndNewlines)
        #expect(left == "", sourceLocation: sourceLocation)
    }

    private struct Sample: Decodable {
        let step: Int
        let rank: Int
        let host: String
        let loss: Double
    }

    /// The samples of a run by step and rank.
    private func ledger(_ run: URL) throws -> [Sample] {
        let text = try String(contentsOf: run.appending(path: "ledger.jsonl"), encoding: .utf8)
        return try text.split(separator: "\n")
            .map { try JSONDecoder().decode(Sample.self, from: Data($0.utf8)) }
            .sorted { ($0.step, $0.rank) < ($1.step, $1.rank) }
    }
}
