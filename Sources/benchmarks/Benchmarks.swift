import ArgumentParser
import CTiles

/// Measures what the kernels reach on this machine; each subcommand has a file of its own.
@main struct Benchmarks: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "benchmarks",
        abstract: "Measure what the kernels reach on this machine.",
        discussion: """
            Example:
              benchmarks products --model w1
              mpirun -n 2 benchmarks steps configs/w1.yaml
            """,
        subcommands: [
            ProductsCommand.self, RowsCommand.self, ReductionsCommand.self, StepsCommand.self,
            LogitsCommand.self,
            GenerationCommand.self,
        ])

    static func main() {
        guard lockstep_cpu_isa_level() >= lockstep_built_isa_level() else {
            exit(
                withError: ValidationError(
                    "built for x86-64 level \(lockstep_built_isa_level()), this CPU has level "
                        + "\(lockstep_cpu_isa_level()): build again here, or with LOCKSTEP_ISA_LEVEL set"))
        }
        main(nil)
    }
}
