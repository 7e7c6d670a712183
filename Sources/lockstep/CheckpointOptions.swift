import ArgumentParser
import Training

/// Which checkpoint of a run a command takes.
struct CheckpointOptions: ParsableArguments {
    @Option(parsing: .unconditional, help: "Step of the checkpoint; the newest whole one by default.")
    var step: Int?
    @Flag(help: "Take the checkpoint with the lowest validation loss (of a run with train.keep_best).")
    var best = false

    func validate() throws {
        guard step == nil || !best else {
            throw ValidationError("--step and --best each name a checkpoint; give one of them")
        }
    }

    var choice: CheckpointChoice { best ? .best : step.map { .step($0) } ?? .newest }
}
