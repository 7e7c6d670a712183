import Foundation
import TestSupport
import Testing

/// `launch/slurm` without Slurm: what Slurm would say is in the environment.
@Suite struct SlurmTests {
    private func slurm(_ arguments: String..., job: [String: String]) throws -> CommandResult {
        try run(
            project.appending(path: "launch/slurm"), arguments,
            environment: ["LOCKSTEP_DRY_RUN": "1", "SLURM_SUBMIT_DIR": project.path].merging(job) { $1 })
    }

    private let job = ["SLURM_JOB_ID": "7", "SLURM_NTASKS": "8", "SLURM_CPUS_PER_TASK": "4"]

    @Test func ranksAndThreadsComeFromTheAllocation() throws {
        let result = try slurm("configs/tiny.yaml", "train.steps=3", job: job)
        #expect(result.exitCode == 0, "\(result.standardError)")
        let line = result.standardOutput
        #expect(line.hasPrefix("mpirun --quiet -n 8 --map-by slot:PE=4 --bind-to core "))
        #expect(line.contains(" -x OPENBLAS_NUM_THREADS=1 "))
        #expect(
            line.contains(
                " train configs/tiny.yaml --out runs/slurm-7 train.steps=3 parallel.threads_per_rank=4 "))
    }

    @Test func oneThreadAndOwnFolder() throws {
        let result = try slurm(
            "configs/tiny.yaml", "--out", "runs/x", job: ["SLURM_JOB_ID": "7", "SLURM_NTASKS": "2"])
        #expect(result.standardOutput.contains(" -n 2 --map-by slot:PE=1 "))
        #expect(result.standardOutput.contains(" --out runs/x parallel.threads_per_rank=1 "))
        #expect(!result.standardOutput.contains("slurm-7"))
    }

    @Test func mistakesAreExplained() throws {
        #expect(try slurm(job: job).exitCode == 64)
        let noJob = try slurm("configs/tiny.yaml", job: ["SLURM_JOB_ID": ""])
        #expect(noJob.exitCode == 64 && noJob.standardError.contains("no Slurm job"))
        #expect(try slurm("none.yaml", job: job).exitCode == 66)
        let threads = try slurm("configs/tiny.yaml", "parallel.threads_per_rank=3", job: job)
        #expect(threads.exitCode == 78 && threads.standardError.contains("--cpus-per-task"))
        let elsewhere = try slurm(
            "configs/tiny.yaml", job: job.merging(["SLURM_SUBMIT_DIR": "/usr"]) { $1 })
        #expect(elsewhere.exitCode == 66 && elsewhere.standardError.contains("project's folder"))
    }
}

/// The folder of the package.
let project = URL(filePath: #filePath + "/../../..").standardizedFileURL
