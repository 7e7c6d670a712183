import ArgumentParser
import Configs
import MessagePassing
import Training

struct ImportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "import",
        abstract: "Check a Hugging Face model and write a configuration that fine-tunes it.",
        discussion: """
            Example:
              lockstep import models/gpt2 --out gpt2.yaml
              mpirun -n 2 lockstep train gpt2.yaml data.path=my.txt
            """)

    @Argument(help: "Folder with config.json and model.safetensors.") var folder: String
    @Option(help: ArgumentHelp("Configuration to write.", valueName: "file")) var out: String

    func run() throws {
        let parameters = try importModel(folder, to: out)
        reportToStandardError("\(out) fine-tunes a model of \(parameters) parameters")
    }
}
