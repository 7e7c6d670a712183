import ArgumentParser
import Configs
import Foundation
import Ledger

struct VerifyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify",
        abstract: "Compare what a run was expected to cost with what it did cost.",
        discussion: """
            Reads estimate.json and ledger.jsonl of the run's folder. Every term is compared on every rank; the \
            table shows the worst one. Ends with code 1 when a term misses its tolerance.

            Example:
              lockstep verify runs/quickstart --tolerance memory.peak=5%
            """)

    @Argument(help: ArgumentHelp("The run's folder.", valueName: "RUN"))
    var directory: String

    @Option(
        name: .customLong("tolerance"),
        help: ArgumentHelp(
            "Largest relative error of a term, as 5% or 0.05, or 'none' to report it without judging; repeatable.",
            valueName: "TERM=ERROR"))
    var tolerances: [String] = []

    @Flag(help: "Print JSON and nothing else.")
    var json = false

    @Flag(help: "Show every rank, not just the worst one of a term.")
    var all = false

    func run() throws {
        let verification = try Verification(
            of: RunDirectory(existing: directory), tolerances: Tolerances(parsing: tolerances))
        if json {
            _ = try StandardOutput.write(JSONFile.bytes(of: verification))
        } else {
            let table = VerificationTable(verification, terminal: Terminal(descriptor: STDOUT_FILENO))
            try StandardOutput.write(table.text(allRanks: all))
        }
        if !verification.misses.isEmpty { throw ExitCode(ExitStatus.verificationFailed.rawValue) }
    }
}
