import Cost
import CostTestSupport
import Foundation
import TestSupport
import Testing

/// `lockstep plan`: its answers, its exit codes, and what it says of wrong input.
@Suite struct PlanInputTests {
    private static let cluster = """
        name: lab
        nodes: 4
        cores: 4
        memory: 8GiB
        network: {bandwidth: 10gbit, latency: 20us}
        """

    /// A folder with a configuration, a cluster and a profile; the arguments that plan with them.
    private func prepared(_ cluster: String = cluster) throws -> (folder: Experiment, arguments: [String]) {
        let experiment = try Experiment()
        let config = try experiment.arguments("run", [])[1]
        let lab = try experiment.write(cluster.utf8, to: "lab.yaml")
        let profile = try experiment.write(JSONEncoder().encode(Profile.example()), to: "node.json")
        return (experiment, ["plan", config, "--cluster", lab, "--profile", profile])
    }

    @Test func aPlanNamesALayoutAndItsLine() throws {
        let (experiment, arguments) = try prepared()
        let result = try lockstep(arguments + ["train.global_batch=16"])
        #expect(result.exitCode == 0 && result.standardError == "")
        #expect(result.standardOutput.contains("\n> "))
        #expect(result.standardOutput.contains("Recommended, the fastest: "))
        let line = "/run.yaml train.global_batch=16"
        #expect(result.standardOutput.contains("  mpirun -n ") && result.standardOutput.contains(line))
        let largest = try lockstep(arguments + ["--largest", "--deadline", "1min", "--tokens", "1e6"])
        #expect(largest.exitCode == 0 && largest.standardOutput.hasPrefix("The largest model like run "))
        let json = try lockstep(arguments + ["--json"]).standardOutput
        let object = try JSONSerialization.jsonObject(with: Data(json.utf8)) as? [String: Any]
        #expect(object?["schema_version"] as? Int == 1)
        _ = experiment
    }

    @Test func whatDoesNotFitOrCannotBeInTimeEndsWithCode1() throws {
        let (experiment, arguments) = try prepared(Self.cluster.replacing("8GiB", with: "64MiB"))
        let large = try lockstep(arguments + ["model.d_model=1200", "model.num_heads=3"])
        #expect(large.exitCode == 1 && large.standardError == "")
        #expect(large.standardOutput.contains("Nothing fits"))
        let late = try prepared()
        let result = try lockstep(late.arguments + ["--deadline", "1us"])
        #expect(result.exitCode == 1 && result.standardOutput.contains("No layout trains within 1.00 µs"))
        let none = try lockstep(late.arguments + ["--deadline", "1us", "--largest"])
        #expect(none.exitCode == 1)
        _ = (experiment, late)
    }

    @Test(arguments: [
        (
            ["--cluster", "FOLDER/none.yaml"],
            Answer(66, "none.yaml: cannot read the cluster", "configs/cluster-64.yaml")
        ),
        (["--cluster", "FOLDER/bad.yaml"], Answer(78, "bad.yaml:2", "nodes is 0", "from 1")),
        (["--cluster", "FOLDER/lab.yaml", "train.stps=3"], Answer(78, "train.stps", "train.steps")),
        (["--cluster", "FOLDER/lab.yaml", "--deadline", "soon"], Answer(64, "soon", "deadline")),
        (["--cluster", "FOLDER/lab.yaml", "--tokens", "many"], Answer(64, "many", "tokens")),
        (["--cluster", "FOLDER/lab.yaml", "--largest"], Answer(64, "--deadline 7d")),
        (["--cluster", "FOLDER/lab.yaml", "--no-profile"], Answer(66, "calibrate", "--profile node.json")),
        ([], Answer(64, "--cluster")),
    ])
    func mistakesAreNamed(arguments: [String], answer: Answer) throws {
        let (experiment, good) = try prepared()
        try experiment.write(Self.cluster.replacing("nodes: 4", with: "nodes: 0").utf8, to: "bad.yaml")
        let mistaken = arguments.map { $0.replacing("FOLDER", with: experiment.folder) }
        answer.check(try lockstep(["plan", good[1]] + good.suffix(2) + mistaken))
    }

    @Test func aNodeMustHaveBeenCalibrated() throws {
        let (experiment, arguments) = try prepared()
        let alone = Profile.example(layouts: [(1, 1)])
        try experiment.write(JSONEncoder().encode(alone), to: "node.json")
        Answer(66, "mpirun -n 2 lockstep calibrate").check(try lockstep(arguments))
    }
}
