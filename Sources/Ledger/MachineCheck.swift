/// One line of `lockstep doctor`.
public struct MachineCheck: Sendable, Codable, Equatable {
    public enum Verdict: String, Sendable, Codable {
        case ok
        /// Training works, but slower or not always.
        case warning
        /// Training fails.
        case problem
    }

    public let subject: String
    public let verdict: Verdict
    public let finding: String
    /// What to do; nil when all is well.
    public let advice: String?

    init(_ subject: String, _ finding: String) {
        self.init(subject, .ok, finding, advice: nil)
    }

    init(_ subject: String, _ verdict: Verdict, _ finding: String, advice: String?) {
        self.subject = subject
        self.verdict = verdict
        self.finding = finding
        self.advice = advice
    }

    /// Checks everything that training leans on.
    ///
    /// - Parameters:
    ///   - ranks: ranks on this machine; nil asks how many there is room for.
    ///   - threads: threads of a rank.
    public static func all(
        machine: MachineFacts, software: MachineSoftware, ranks: Int?, threads: Int
    ) -> [MachineCheck] {
        [
            launcher(software), mpiLibrary(software), software.isRoot ? root(software) : nil,
            openBLAS(software, on: machine),
            cores(machine), placement(machine, ranks: ranks, threads: threads),
            quota(machine, ranks: ranks, threads: threads), features(machine), bf16Products(software),
            instructionSet(software), memory(machine), sharedMemory(software), disk(software),
            hugePages(machine),
        ].compactMap { $0 }
    }

    /// The verdict on all of them together, in a sentence.
    public static func summary(_ checks: [MachineCheck]) -> String {
        let problems = checks.count { $0.verdict == .problem }
        let warnings = checks.count { $0.verdict == .warning }
        if problems > 0 {
            return "Training would fail: \(counted(problems, "problem")) to solve, as said behind ->."
        }
        return warnings == 0
            ? "All is well: training can start."
            : "Training can start; what is said behind -> would make it faster or safer."
    }

    /// A line a check: verdict, subject, finding; then what to do.
    public static func table(_ checks: [MachineCheck]) -> String {
        func padded(_ text: String, _ width: Int) -> String {
            text + String(repeating: " ", count: max(0, width - text.count))
        }
        let width = checks.map(\.subject.count).max() ?? 0
        return checks.map { check in
            let line =
                "\(padded(check.verdict.rawValue, 7))  \(padded(check.subject, width))  \(check.finding)\n"
            let advice = check.advice.map { padded("", 11 + width) + "-> \($0)\n" } ?? ""
            return line + advice
        }.joined()
    }
}
