import Foundation
import TestSupport
import Testing

/// What the program has to answer to something wrong.
struct Answer {
    let code: Int32
    /// Words that the message must have: what is wrong, what was expected, what helps.
    let words: [String]

    init(_ code: Int32, words: [String]) {
        self.code = code
        self.words = words
    }

    init(_ code: Int32, _ words: String...) { self.init(code, words: words) }

    /// Checks that `result` is this answer, given by one voice and by nothing on standard output.
    func check(_ result: CommandResult, sourceLocation: SourceLocation = #_sourceLocation) {
        let errors = result.standardError
        #expect(result.exitCode == code, "\(errors)", sourceLocation: sourceLocation)
        let lines = errors.split(separator: "\n")
        let voices = lines.filter { $0.hasPrefix("lockstep: error: ") || $0.hasPrefix("Error: ") }
        #expect(voices.count == 1, "\(errors)", sourceLocation: sourceLocation)
        for word in words {
            #expect(errors.contains(word), "no '\(word)' in: \(errors)", sourceLocation: sourceLocation)
        }
        #expect(result.standardOutput == "", sourceLocation: sourceLocation)
    }
}

/// Runs the program alone.
func lockstep(_ arguments: [String], environment: [String: String] = [:]) throws -> CommandResult {
    try run(builtProduct("lockstep"), arguments, environment: environment)
}

/// Runs the program on `ranks` ranks. `mpirun` gives those that are left when one has failed no time to say anything, so
/// that nothing which has to be heard may depend on it.
func lockstep(ranks: Int, _ arguments: [String]) throws -> CommandResult {
    try mpirun(
        ranks: ranks, program: "lockstep", arguments: arguments,
        environment: ["OMPI_MCA_odls_base_sigkill_timeout": "0"])
}

/// Runs a line of bash, in which `lockstep` is the program and `$FOLDER` is `folder`; `isRoot` gives it a name space of its
/// own, in which it may mount.
func shell(_ line: String, folder: String, isRoot: Bool = false) throws -> CommandResult {
    let bash = ["/bin/bash", "-c", "lockstep() { \"$LOCKSTEP\" \"$@\"; }; \(line)"]
    return try run(
        URL(filePath: "/usr/bin/env"), (isRoot ? ["unshare", "-rm"] : []) + bash,
        environment: ["LOCKSTEP": builtProduct("lockstep").path, "FOLDER": folder])
}
