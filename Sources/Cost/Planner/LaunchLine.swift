import Configs

extension Plan {
    /// The line that starts training as recommended, to be called from the project's folder.
    ///
    /// - Parameters:
    ///   - path: of the configuration file.
    ///   - overrides: that were given for it.
    public func launchLine(_ candidate: PlanCandidate, path: String, overrides: [String]) -> String {
        let layout = candidate.layout
        var changes = layout.overrides(of: config)
        if goal.steps != config.train.steps { changes.append("train.steps=\(goal.steps)") }
        if goal.steps < config.train.schedule.warmupSteps {
            changes.append("train.schedule.warmup_steps=\(goal.steps)")
        }
        let train: [String]
        switch cluster.launcher {
        case .mpirun:
            let hosts = cluster.nodes > 1 ? ["--hostfile", "hosts"] : []
            train =
                ["mpirun", "-n", "\(layout.ranks)"] + hosts + [
                    "--map-by",
                    "ppr:\(layout.ranksPerNode):node:PE=\(layout.threads)", "--bind-to", "core", "-x",
                    "OPENBLAS_NUM_THREADS=1", ".build/release/lockstep", "train", path,
                ]
        case .slurm:
            // The script gives each rank the threads that Slurm gives it.
            changes.removeAll { $0.hasPrefix("parallel.threads_per_rank=") }
            train = [
                "sbatch", "--nodes", "\(layout.nodes)", "--ntasks-per-node", "\(layout.ranksPerNode)",
                "--cpus-per-task", "\(layout.threads)", "launch/slurm", path,
            ]
        }
        // Of a key that was given already, what the plan says counts.
        let keys = Set(changes.map { $0.prefix { $0 != "=" } })
        let kept = overrides.filter { !keys.contains($0.prefix { $0 != "=" }) }
        return (train + kept + changes).map(shellQuoted).joined(separator: " ")
    }
}

private func shellQuoted(_ word: String) -> String {
    let isPlain = word.unicodeScalars.allSatisfy {
        $0.isASCII && ($0.properties.isAlphabetic || "0123456789_-./=:,+%@".unicodeScalars.contains($0))
    }
    return isPlain && !word.isEmpty ? word : "'" + word.replacing("'", with: "'\\''") + "'"
}
