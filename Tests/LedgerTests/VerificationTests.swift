import Configs
import Foundation
import Ledger
import Testing

@Suite struct VerificationTests {
    static let exactTerms = [
        "parameters", "flops.matmul_per_step", "memory.parameters", "memory.gradients", "memory.optimizer",
        "memory.activations", "memory.workspace", "memory.communication", "memory.data",
        "traffic.bytes_per_step",
    ]

    static let onceARun = ["memory.node", "time.evaluation", "time.checkpoint"]

    @Test(arguments: [1, 2, 4]) func aRunAsEstimatedIsExact(ranks: Int) throws {
        let verification = try FakeRun(ranks: ranks).verification()
        #expect(verification.misses.isEmpty)
        #expect(verification.notes.isEmpty)
        #expect(verification.steps == 5)
        #expect(verification.results.count == (VerifiedTerm.all.count - Self.onceARun.count) * ranks + 3)
        for term in Self.onceARun {
            #expect(verification.results.filter { $0.term == term }.map(\.rank) == [0])
        }
        for term in Self.exactTerms {
            for rank in 0..<ranks {
                let result = try verification.result(term, rank: rank)
                #expect(result.estimated == result.measured)
                #expect(result.relativeError == 0)
                #expect(result.tolerance == 0)
                #expect(result.within == true)
                #expect(result.deviatingSteps == 0)
            }
        }
        let flops = try verification.result("flops.matmul_per_step", rank: ranks - 1)
        #expect(flops.measured == 12_000 / Double(ranks))
    }

    @Test func theContractsTermsAreAllThere() {
        let contract = [
            "parameters", "flops.matmul_per_step", "memory.parameters", "memory.gradients",
            "memory.optimizer",
            "memory.activations", "memory.workspace", "memory.communication", "memory.runtime", "memory.peak",
            "memory.unattributed", "memory.node", "time.forward", "time.backward", "time.reduce",
            "time.optimizer", "time.step", "time.unattributed", "time.evaluation", "time.checkpoint",
            "traffic.bytes_per_step",
        ]
        #expect(Set(VerifiedTerm.all.map(\.name)).isSuperset(of: contract))
    }

    /// What alters one figure of a sample, and the terms that have to notice.
    static let changes: [(String, [String], @Sendable (inout StepSample) -> Void)] = [
        ("flops", ["flops.matmul_per_step"], { $0.matmulFLOPs += 1 }),
        ("parameters", ["parameters", "memory.parameters"], { $0.bytes.parameters += 4 }),
        ("gradients", ["memory.gradients"], { $0.bytes.gradients -= 1 }),
        ("optimizer", ["memory.optimizer"], { $0.bytes.optimizer = 0 }),
        ("activations", ["memory.activations"], { $0.bytes.activations += 1 }),
        ("workspace", ["memory.workspace"], { $0.bytes.workspace += 1 }),
        ("communication", ["memory.communication"], { $0.bytes.communication += 1 }),
        ("data", ["memory.data"], { $0.bytes.data += 1 }),
        ("traffic", ["traffic.bytes_per_step"], { $0.sentBytes += 1 }),
    ]

    @Test(arguments: changes.indices) func oneStepThatDiffersFailsItsTermOnItsRank(_ index: Int) throws {
        let (_, terms, change) = Self.changes[index]
        for step in [1, 3, 5] {
            let verification = try FakeRun().verification { sample in
                if sample.step == step && sample.rank == 1 { change(&sample) }
            }
            #expect(verification.misses.map(\.term) == terms)
            for miss in verification.misses {
                #expect(miss.rank == 1)
                #expect(miss.deviatingSteps == 1)
                #expect(miss.firstDeviatingStep == step)
                #expect(miss.measured != miss.estimated)
            }
        }
    }

    @Test func deviationsThatCancelStillFail() throws {
        let verification = try FakeRun().verification { sample in
            if sample.step == 2 { sample.matmulFLOPs += 10 }
            if sample.step == 3 { sample.matmulFLOPs -= 12 }
        }
        let result = try verification.result("flops.matmul_per_step")
        #expect(result.measured == 5988)
        #expect(result.relativeError == -0.002)
        #expect(result.deviatingSteps == 2)
        #expect(result.within == false)
    }

    @Test func bytesSentWhereNoneWereExpectedFailWithoutARelativeError() throws {
        let verification = try FakeRun(ranks: 1).verification { $0.sentBytes = 8 }
        let result = try verification.result("traffic.bytes_per_step")
        #expect(result.relativeError == nil)
        #expect(result.within == false)
    }

    @Test func timesAreMediansOfSteadySteps() throws {
        // Forward takes 10 ms · step, so steps 2 to 5 have the median 35 ms.
        let verification = try FakeRun().verification { sample in
            if sample.step == 1 { sample.seconds.total = 60 }
            if sample.step == 4 { sample.seconds.total = 0.06 }
        }
        let forward = try verification.result("time.forward")
        #expect(abs(try #require(forward.measured) - 0.035) < 1e-12)
        #expect(forward.estimated == nil && forward.relativeError == nil && forward.within == nil)
        #expect(try verification.result("time.step").measured == 0.05)
        #expect(try FakeRun(steps: 1).verification().result("time.forward").measured == 0.01)
    }

    /// Of two ranks, one that comes late copies what the other then need not.
    @Test func reductionsAreTheMeanOfTheRanks() throws {
        let verification = try FakeRun().verification { sample in
            sample.seconds.reduceOverlapped = sample.rank == 0 ? 0.001 : 0.003
            sample.seconds.reduceExposed = 0.002
        }
        for rank in 0..<2 {
            let measured = try #require(try verification.result("time.reduction", rank: rank).measured)
            #expect(abs(measured - 0.004) < 1e-12)
        }
        #expect(try verification.result("time.reduce_overlapped", rank: 1).measured == 0.003)
    }

    @Test func aTimeIsJudgedOnceItHasAnEstimateAndATolerance() throws {
        let run = FakeRun(timeOfStep: 0.04)
        let unjudged = try run.verification(Tolerances(parsing: ["time.step=none"])).result("time.step")
        #expect(abs(try #require(unjudged.relativeError) - 0.25) < 1e-12)
        #expect(unjudged.within == nil)
        #expect(try run.verification().result("time.step").within == false)
        #expect(try run.verification(Tolerances(parsing: ["time.step=20%"])).misses.count == 2)
        #expect(try run.verification(Tolerances(parsing: ["time.step=0.26"])).misses.isEmpty)
    }

    @Test func memoryTakesThePeakAndTheRest() throws {
        let verification = try FakeRun().verification { sample in
            if sample.rank == 1 && sample.step >= 3 { sample.bytes.residentPeak = 230_000 }
        }
        let peak = try verification.result("memory.peak", rank: 1)
        #expect(peak.measured == 230_000)
        #expect(abs(try #require(peak.relativeError) - 0.15) < 1e-12)
        #expect(peak.within == false)
        #expect(try verification.result("memory.peak", rank: 0).within == true)
        let runtime = try verification.result("memory.runtime", rank: 1)
        #expect(runtime.measured == Double(230_000 - 49_028))
        #expect(runtime.tolerance == nil && runtime.within == nil)
    }

    @Test func memoryThatNobodyMeasuredIsUnknown() throws {
        let verification = try FakeRun().verification { $0.bytes.residentPeak = 0 }
        #expect(try verification.result("memory.peak").measured == nil)
        #expect(try verification.result("memory.peak").within == nil)
        #expect(verification.misses.isEmpty)
    }

    @Test func tolerancesAreRead() throws {
        let run = FakeRun(peak: 190_000)
        #expect(try run.verification().misses.count == 2)
        #expect(try run.verification(Tolerances(parsing: ["memory.peak=5%"])).misses.count == 2)
        #expect(try run.verification(Tolerances(parsing: ["memory.peak=6%"])).misses.isEmpty)
        #expect(
            try run.verification(Tolerances(parsing: ["memory.peak=0.01", "memory.peak=none"])).misses.isEmpty
        )
        let loose = try Tolerances(parsing: ["flops.matmul_per_step=1%", "memory.peak=none"])
        #expect(try run.verification(loose) { $0.matmulFLOPs += 1 }.misses.isEmpty)
    }

    @Test(arguments: [
        "", "memory.peak", "memory.peak=", "memory.peak=-1", "memory.peak=nan%", "memory.peak=5%%", "=5%",
        "memory.speak=5%", "memory.peak=1=2",
    ])
    func aToleranceThatIsNoneIsAUsageError(_ text: String) throws {
        let error = try failure { try Tolerances(parsing: [text]) }
        #expect(error.status == .usage)
        #expect(error.description.contains("'\(text)'"))
    }

    @Test func missingFilesAreMissingInput() throws {
        try withTemporaryFolder { folder in
            #expect(try failure { try RunDirectory(existing: folder + "/none") }.status == .inputMissing)
            let run = try FakeRun().write(below: folder)
            for path in [run.ledger, run.estimate] {
                try FileManager.default.removeItem(atPath: path)
                let error = try failure { try Verification(of: run) }
                #expect(error.status == .inputMissing)
                #expect(error.description.contains(path))
            }
        }
    }

    @Test func aLedgerOfOtherRanksIsRefused() throws {
        try withTemporaryFolder { folder in
            let run = try FakeRun(ranks: 2).write(below: folder)
            try Data(FakeRun(ranks: 1).estimate.utf8).write(to: URL(filePath: run.estimate))
            let surplus = try failure { try Verification(of: run) }
            #expect(surplus.status == .badData)
            #expect(surplus.description.contains("\(run.ledger), line 2: 'rank' is 1"))
            try Data(FakeRun(ranks: 3).estimate.utf8).write(to: URL(filePath: run.estimate))
            #expect(try failure { try Verification(of: run) }.description.contains("2 of 3 ranks"))
            try Data().write(to: URL(filePath: run.ledger))
            #expect(try failure { try Verification(of: run) }.status == .badData)
        }
    }

    @Test func missingAndTruncatedLinesAreNoted() throws {
        try withTemporaryFolder { folder in
            let run = try FakeRun(ranks: 2, steps: 3).write(below: folder)
            let whole = try contents(run.ledger)
            try Data(whole.utf8.dropLast(9)).write(to: URL(filePath: run.ledger))
            let verification = try Verification(of: run)
            #expect(verification.misses.isEmpty)
            #expect(verification.notes.count == 2)
            #expect(verification.notes[0].contains("rank 1: the ledger holds 2 samples of 3 steps"))
            #expect(verification.notes[1].contains("line 6"))
        }
    }

    @Test func jsonIsTheContractAndReadsBack() throws {
        try withTemporaryFolder { folder in
            let run = try FakeRun(peak: nil).write(below: folder) { sample in
                if sample.step == 2 { sample.sentBytes += 4 }
            }
            let verification = try Verification(of: run)
            try JSONFile.write(verification, to: run.verification)
            #expect(try JSONFile.read(Verification.self, from: run.verification) == verification)

            let json = try JSONSerialization.jsonObject(
                with: Data(contentsOf: URL(filePath: run.verification)))
            let root = try #require(json as? [String: Any])
            #expect(root["schema_version"] as? Int == 1)
            let terms = try #require(root["terms"] as? [[String: Any]])
            #expect(terms.count == VerifiedTerm.all.count * 2 - Self.onceARun.count)
            let peak = try #require(terms.first { $0["term"] as? String == "memory.peak" })
            #expect(peak["unit"] as? String == "B" && peak["rank"] as? Int == 0)
            #expect(
                peak["estimated"] is NSNull && peak["relative_error"] is NSNull && peak["within"] is NSNull)
            #expect(peak["measured"] as? Int == 200_000)
            #expect(peak["tolerance"] as? Double == 0.02)
            let traffic = try #require(terms.last)
            #expect(traffic["term"] as? String == "traffic.bytes_per_step")
            #expect(traffic["within"] as? Bool == false)
            #expect(traffic["deviating_steps"] as? Int == 1)
        }
    }
}
