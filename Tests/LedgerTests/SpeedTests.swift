import Configs
import Cost
import Foundation
import Ledger
import Testing

/// What a run measures beside its steps, and what verification makes of it.
@Suite struct SpeedTests {
    private static func speed(
        _ products: Double, _ kernels: Double, _ copies: Double, _ exchange: ExchangeSpeed
    ) -> ReferenceSpeed {
        ReferenceSpeed(
            flopsPerSecond: products, kernelElementsPerSecond: kernels, copyBytesPerSecond: copies,
            exchange: exchange, productSpread: 0.02, kernelSpread: 0.01, copySpread: 0.03)
    }

    /// On rank 0, products at 0.8, kernels at 0.9, copies at 1.25 and exchanges at 0.5, of gradients from memory at 0.8 and of
    /// shards at 1.1 of the calibrated speed; rank 1 is as it was.
    private static let drifted = RunSpeed(ranks: [
        speed(0.8e11, 0.9e9, 1.25e10, .init(cached: 5e9, gradients: 8e9, shards: 1.1e10)),
        speed(1e11, 1e9, 1e10, .init(cached: 1e10, gradients: 1e10, shards: 1e10)),
    ])

    private func verified(
        _ run: FakeRun = FakeRun(isCalibrated: true), speed: RunSpeed? = Self.drifted,
        tolerances: [String] = [], with: (RunDirectory) throws -> Void = { _ in }
    ) throws -> Verification {
        try withTemporaryFolder { folder in
            let run = try run.write(below: folder) { $0.seconds.total = 0.07 }
            if let speed { try JSONFile.write(speed, to: run.speed) }
            try with(run)
            return try Verification(of: run, tolerances: Tolerances(parsing: tolerances))
        }
    }

    @Test func timesAreComparedAtTheSpeedOfTheMachine() throws {
        let verification = try verified()
        let (forward, backward) = (0.02 / 0.8 + 0.01 / 0.9 + 0.005 / 1.25, 0.015 / 0.8 + 0.005 / 1.25)
        let slowest = forward + backward
        // The ranks share it: the mean of what it would be at the speed of each.
        // Behind backward, of 8 MiB.
        let ofRank0 = 0.003 / (pow(0.5, 0.25 / 2) * pow(0.8, 0.75 / 2))
        let reduction = (ofRank0 + 0.003) / 2
        let expected: [(term: String, ranks: [Double])] = [
            ("time.forward", [forward, 0.035]), ("time.backward", [backward, 0.02]),
            ("time.wait", [0, slowest - 0.055]), ("time.reduce", [reduction, reduction]),
            ("time.reduction", [reduction, reduction]), ("time.optimizer", [0.004 / 1.25, 0.004]),
            ("time.step", [slowest + reduction + 0.004 / 1.25, slowest + reduction + 0.004]),
        ]
        for (term, ranks) in expected {
            for (rank, seconds) in ranks.enumerated() {
                let result = try verification.result(term, rank: rank)
                let (atSpeed, measured) = (
                    try #require(result.estimatedAtSpeed), try #require(result.measured)
                )
                #expect(abs(atSpeed - seconds) < 1e-12, "\(term) of rank \(rank)")
                guard seconds > 0 else { continue }
                #expect(abs((result.relativeErrorAtSpeed ?? 9) - (measured / seconds - 1)) < 1e-12, "\(term)")
            }
        }
        let terms = expected.map(\.term) + ["time.reduce_overlapped", "time.evaluation", "time.checkpoint"]
        #expect(verification.results.allSatisfy { ($0.estimatedAtSpeed != nil) == terms.contains($0.term) })
        #expect(
            verification.notes == [
                "speed since calibration: products -20.0 … 0.00 %, kernels -10.0 … 0.00 %, copy 0.00 … +25.0 %",
                "exchanges between ranks since calibration: -25.0 % from caches, -10.0 % of gradients, +5.00 % of shards",
            ])
    }

    @Test func handoversBetweenThreadsAreNamed() throws {
        var speed = Self.drifted
        for rank in speed.ranks.indices { speed.ranks[rank].handoverBytesPerSecond = 4e9 }
        let notes = try verified(FakeRun(isCalibrated: true, hasThreads: true), speed: speed).notes
        #expect(notes.first?.hasSuffix(", copy 0.00 … +25.0 %, handovers between threads -50.0 %") == true)
    }

    /// 70 ms are 13 % more than the estimated 62 ms, but what the machine took at its speed.
    @Test func theErrorAtSpeedIsJudged() throws {
        let step = try verified().result("time.step")
        #expect(abs(try #require(step.relativeError) - 0.129) < 1e-3)
        #expect(step.tolerance == 0.1 && step.within == true)
        #expect(try verified(speed: nil).result("time.step").within == false)
        #expect(try verified(speed: nil, tolerances: ["time.step=none"]).result("time.step").within == nil)
        #expect(try verified(speed: nil, tolerances: ["time.step=13%"]).result("time.step").within == true)
        #expect(try verified().result("time.forward").within == nil)
    }

    /// A machine that is half as fast in every third step, and ranks that wait for the slower: the same estimate meets all.
    @Test func aSpeedThatChangesFromStepToStepIsNotHeldAgainstTheEstimate() throws {
        // The reduction is as fast as ever.
        func total(_ slowdown: Double) -> Double { 0.045 * slowdown + 0.01 + 0.003 + 0.004 }
        func verified(knowsSpeed: Bool) throws -> Verification {
            try FakeRun(steps: 9, isCalibrated: true).verification { sample in
                let factor = sample.step % 3 == 0 ? 2.0 : 1.5
                sample.seconds.forward = 0.03 * (sample.rank == 0 ? factor : 1) + 0.005
                sample.seconds.backward = 0.015 * (sample.rank == 0 ? factor : 1) + 0.005
                sample.seconds.total = total(factor)
                guard knowsSpeed else { return }
                // Of two ranks, one sets the pace.
                sample.speed = .init(
                    flopsPerSecond: sample.rank == 0 ? 1e11 / factor : 1e11,
                    kernelElementsPerSecond: sample.rank == 0 ? 1e9 / factor : 1e9, copyBytesPerSecond: 1e10)
            }
        }
        // Steps 2 to 9 count, three of them with factor 2. Of a deviation from the mean of the middle half of them
        // (8 × 1 + 3 × 0.7) / 11 are believed.
        let mean = (3 * log(1.5) + log(2)) / 4
        let likely = exp(mean + (8 + 2.1) / 11 * (log(1.5) - mean))
        let step = try verified(knowsSpeed: true).result("time.step")
        let error = total(1.5) / total(likely) - 1
        #expect(abs((step.relativeErrorAtSpeed ?? 9) - error) < 1e-12 && step.within == true)
        #expect(abs((step.relativeError ?? 9) - (total(1.5) / 0.062 - 1)) < 1e-12)
        let other = try verified(knowsSpeed: true).result("time.step", rank: 1)
        #expect(abs((other.relativeErrorAtSpeed ?? 9) - error) < 1e-12)
        let forward = try verified(knowsSpeed: true).result("time.forward")
        #expect(abs((forward.relativeErrorAtSpeed ?? 9) - (0.05 / (0.03 * likely + 0.005) - 1)) < 1e-12)
        #expect(try verified(knowsSpeed: false).result("time.step").within == false)
    }

    @Test func onlyRankZeroIsTheCoordinator() throws {
        let verification = try verified()
        #expect(try verification.result("memory.peak", rank: 0).estimated == 200_000)
        #expect(try verification.result("memory.peak", rank: 1).estimated == 190_000)
        #expect(try verification.result("memory.runtime", rank: 0).estimated == 150_000)
        #expect(try verification.result("memory.runtime", rank: 1).estimated == 140_000)
        // 200,000 B are 49,028 B of arenas, 140,000 B of runtime, and 10,000 B of the coordinator.
        #expect(try verification.result("memory.unattributed", rank: 0).measured == 972)
        #expect(try verification.result("memory.unattributed", rank: 1).measured == 10_972)
    }

    @Test func aTimeThatIsEstimatedAsNothingIsNotJudged() throws {
        let verification = try FakeRun(timeOfStep: 0).verification()
        let step = try verification.result("time.step")
        #expect(step.estimated == 0 && step.within == nil && step.tolerance == nil)
    }

    @Test func phasesAndTheRestAddUp() throws {
        // Of 50 ms in step 2, data takes 1, forward 20, backward 20, reduction 3 and the optimizer 4.
        let run = FakeRun(steps: 2)
        let rest = try #require(try run.verification().result("time.unattributed").measured)
        #expect(abs(rest - (0.05 - 0.048)) < 1e-12)
        #expect(try run.verification().result("time.data").measured == 0.001)
    }

    @Test func evaluationsCheckpointsAndHostsAreMeasuredOnce() throws {
        let verification = try verified(tolerances: ["memory.node=none"]) { run in
            var evaluations = try EvaluationWriter(path: run.evaluations)
            var checkpoints = try CheckpointWriter(path: run.checkpointLog)
            for (step, seconds) in [(1, 2.0), (2, 0.8), (3, 0.75)] {
                try evaluations.append(
                    .init(step: step, validationLoss: 1, bitsPerByte: nil, tokens: 7, seconds: seconds))
                try checkpoints.append(.init(step: step, bytes: 4000, seconds: seconds / 10))
            }
            let memory = RunMemory(
                shares: [(60, 30), (30_000, 0), (150_000, 40), (200_000, 7)], hosts: ["a", "b", "a", "b"])
            #expect(memory.hosts.map(\.host) == ["a", "b"] && memory.hosts.map(\.ranks) == [2, 2])
            try JSONFile.write(memory, to: run.memory)
        }
        let evaluation = try verification.result("time.evaluation")
        #expect(evaluation.measured == 0.8 && evaluation.estimated == 0.7)
        #expect(
            abs((evaluation.estimatedAtSpeed ?? 0) - 0.7 * (0.02 / 0.8 + 0.01 / 0.9 + 0.005 / 1.25) / 0.035)
                < 1e-12)
        let checkpoint = try verification.result("time.checkpoint")
        #expect(checkpoint.measured == 0.08 && checkpoint.estimatedAtSpeed == 0.1)
        let host = try verification.result("memory.node")
        #expect(host.measured == 150_100 && host.estimated == 350_000 && host.within == nil)
    }

    @Test(arguments: [
        ("speed.json", "{", "JSON"), ("speed.json", "{\"schema_version\": 2}", "'ranks'"),
        (
            "speed.json",
            #"{"schema_version": 4, "ranks": [{"flops_per_second": -3, "kernel_elements_per_second": 1e9, "copy_bytes_per_second": 1e9, "product_spread": 0, "kernel_spread": 0, "copy_spread": 0}]}"#,
            "'flops_per_second' is -3"
        ),
        ("memory.json", "x", "JSON"), ("memory.json", #"{"schema_version": 1, "hosts": 3}"#, "'hosts'"),
        ("checkpoints.jsonl", "{}\n", "line 1"), ("evaluations.jsonl", "x\n", "line 1"),
    ])
    func damageIsNamed(file: String, text: String, word: String) throws {
        try withTemporaryFolder { folder in
            let run = try FakeRun(isCalibrated: true).write(below: folder)
            try Data(text.utf8).write(to: URL(filePath: "\(run.path)/\(file)"))
            let error = try failure { try Verification(of: run) }
            #expect(error.status == .badData)
            #expect(error.description.contains("\(run.path)/\(file)"))
            #expect(error.description.contains(word), "\(error.description)")
        }
    }

    @Test func theTableShowsBothErrorsInLinesThatFit() throws {
        let verification = try verified(tolerances: ["memory.peak=none", "time.reduction=none"])
        let lines = VerificationTable(verification).text().split(separator: "\n").map(String.init)
        let header = lines[0].split(separator: "  ").map { $0.trimmingPrefix(" ") }.filter { !$0.isEmpty }
        #expect(
            header == [
                "term", "rank", "estimated", "measured", "error", "at speed", "allowed", "verdict",
                "all ranks",
            ])
        let step = try #require(lines.first { $0.hasPrefix("time.step ") })
        #expect(step.contains("+12.9 %   +0.95 %    ±10 %  within"), "\(step)")
        #expect(lines.allSatisfy { $0.count <= 120 }, "\(lines.filter { $0.count > 120 })")
        #expect(
            lines.contains { $0.hasPrefix("note: speed since calibration: products -20.0 … 0.00 %") }
        )
        #expect(
            lines.last?.contains("step time within ±10 % (rank 0: +0.95 %)") == true, "\(lines.last ?? "")")
        let missed = VerificationTable(try verified(tolerances: ["time.step=0.1%"])).verdict
        #expect(
            missed.contains("time.step on ranks 0, 1: 70.0 ms instead of 62.0 ms (+12.9 %, +0.95 % at the"))
    }
}
