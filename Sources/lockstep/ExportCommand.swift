import ArgumentParser
import Configs
import MessagePassing
import Training

struct ExportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export",
        abstract: "Write a run's model for Hugging Face transformers.",
        discussion: """
            Example:
              lockstep export runs/quickstart quickstart-model
              python -c 'from transformers import pipeline; \\
                print(pipeline("text-generation", "quickstart-model")("In the beginning"))'
            """)

    @Argument(help: ArgumentHelp("Run directory.", valueName: "run")) var directory: String
    @Argument(help: ArgumentHelp("Folder for the model; it must not hold one yet.", valueName: "folder"))
    var folder: String
    @OptionGroup var checkpoint: CheckpointOptions

    func run() throws {
        let step = try exportRun(directory, checkpoint.choice, to: folder)
        reportToStandardError("the model of step \(step) is in \(folder)")
    }
}
