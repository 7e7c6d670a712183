import Foundation
import Ledger
import Testing

@Suite struct TerminalTests {
    @Test func aPipeIsPlainUnlessTheLauncherNamesATerminal() {
        #expect(Terminal(descriptor: -1, environment: [:]) == Terminal(isLive: false, columns: 80))
        #expect(
            Terminal(descriptor: 1_000_000, environment: ["LOCKSTEP_TERMINAL_COLUMNS": "132"]).isLive
                == false,
            "only standard error is announced")
    }

    @Test func standardErrorBehindAPipeIsAsAnnounced() {
        func terminal(_ environment: [String: String]) -> Terminal {
            Terminal(
                descriptor: 2,
                environment: environment.merging(["LOCKSTEP_TERMINAL_COLUMNS": "132"]) { $1 })
        }
        #expect(terminal([:]).isLive && terminal([:]).hasColor)
        #expect(terminal(["NO_COLOR": "1"]).isLive && !terminal(["NO_COLOR": "1"]).hasColor)
        #expect(terminal(["NO_COLOR": ""]).hasColor)
        #expect(!terminal(["TERM": "dumb"]).isLive && !terminal(["TERM": "dumb"]).hasColor)
    }
}

@Suite struct ProgressLineTests {
    @Test func longEvaluationsSayHowFarTheyAre() {
        var plain = ProgressLine(terminal: Terminal(isLive: false))
        func text(_ line: inout ProgressLine, _ share: Double, at now: Double) -> String? {
            line.evaluationText(after: 40, of: 300, share: share, for: now - 100, at: now)
        }
        #expect(text(&plain, 0.25, at: 110) == "step  40/300  evaluating  25 %  30s left\n")
        #expect(text(&plain, 0.3, at: 115) == nil, "ten seconds lie between two lines")
        #expect(text(&plain, 0.5, at: 120) == "step  40/300  evaluating  50 %  20s left\n")
        #expect(text(&plain, 1, at: 140) == nil, "its result says so itself")

        var live = ProgressLine(terminal: Terminal(isLive: true, columns: 30))
        // Cut to the terminal's width.
        #expect(text(&live, 0.5, at: 101) == "\rstep  40/300  evaluating  50 \u{1B}[K")
        let evaluation = EvaluationRecord(
            step: 40, validationLoss: 1, bitsPerByte: nil, tokens: 7, seconds: 2)
        #expect(live.text(for: evaluation, of: 300).hasPrefix("\r\u{1B}[K"), "it gives way to the result")
    }

    private func progress(_ step: Int, seconds: Double = 0.5) -> StepProgress {
        var progress = StepProgress(steps: 300)
        for rank in 0..<2 {
            var sample = StepSample(step: step, rank: rank)
            sample.loss = 1.87312
            sample.learningRate = 9.75e-4
            sample.tokens = 1024
            sample.matmulFLOPs = 20_000_000_000
            sample.bytes.resident = (300 + rank) << 20
            sample.seconds.total = rank == 0 ? seconds : seconds / 2
            progress.add(sample)
        }
        return progress
    }

    @Test func aPlainLineTellsEverything() {
        var line = ProgressLine(terminal: Terminal(isLive: false))
        let text = line.text(for: progress(1), at: 100)
        #expect(
            text
                == "step   1/300  loss 1.8731  lr 9.75e-04  4,096 tok/s  40.0 GFLOP/s/rank  301 MiB  2m30s left\n"
        )
    }

    @Test func plainLinesComeEveryTenSecondsAndAtTheEnd() {
        var line = ProgressLine(terminal: Terminal(isLive: false))
        let shown = (1...300).filter { line.text(for: progress($0), at: Double($0) * 0.5) != nil }
        #expect(shown == Array(stride(from: 1, through: 281, by: 20)) + [300])
    }

    @Test func aLiveLineIsDrawnFiveTimesASecond() {
        var line = ProgressLine(terminal: Terminal(isLive: true, columns: 120))
        let texts = (1...250).compactMap {
            line.text(for: progress($0, seconds: 0.01), at: Double($0) * 0.01)
        }
        #expect((12...14).contains(texts.count))
        #expect(texts.allSatisfy { $0.hasPrefix("\rstep ") && $0.hasSuffix(" left\u{1B}[K") })
    }

    @Test(arguments: [1, 10, 20, 40, 60, 80, 100, 200]) func aLiveLineFitsItsTerminal(columns: Int) throws {
        var line = ProgressLine(terminal: Terminal(isLive: true, columns: columns))
        let text = line.text(for: progress(1), at: 0) ?? ""
        let visible = text.dropFirst().dropLast(3)
        #expect(visible.count < columns)
        #expect(visible.contains("step   1/300") == (columns > 12))
        #expect(visible.contains("loss 1.8731") == (columns >= 40))
        #expect(visible.contains("lr ") == (columns >= 100))
    }

    @Test func colorAddsNoWidth() throws {
        var plain = ProgressLine(terminal: Terminal(isLive: true, columns: 90))
        var colored = ProgressLine(terminal: Terminal(isLive: true, columns: 90, hasColor: true))
        let bare = plain.text(for: progress(1), at: 0) ?? ""
        let styled = colored.text(for: progress(1), at: 0) ?? ""
        #expect(styled != bare)
        #expect(styled.replacing("\u{1B}[1m", with: "").replacing("\u{1B}[0m", with: "") == bare)
    }

    @Test func theFirstStepsPaceIsForgotten() throws {
        var line = ProgressLine(terminal: Terminal(isLive: false))
        _ = line.text(for: progress(1, seconds: 60), at: 0)
        let text = line.text(for: progress(2), at: 30) ?? ""
        #expect(text.contains("4,096 tok/s"))
        // The wall clock knows of 30 s a step, with whatever happened between the steps.
        #expect(text.hasSuffix("2h29m left\n"))
    }

    @Test func anEvaluationStaysAboveTheLiveLine() {
        let evaluation = EvaluationRecord(
            step: 50, validationLoss: 1.91234, bitsPerByte: 2.7589, tokens: 216_064, seconds: 1.5)
        let text = "step  50/300  validation loss 1.9123  2.759 bits/byte  216,064 tokens in 1.50 s\n"
        var line = ProgressLine(terminal: Terminal(isLive: true, columns: 120))
        let first = line.text(for: evaluation, of: 300)
        #expect(first == text)
        _ = line.text(for: progress(51), at: 0)
        let second = line.text(for: evaluation, of: 300)
        #expect(second == "\r\u{1B}[K" + text)
        let ends = [
            line.endText(), line.text(for: progress(300), at: 9) ?? "", line.endText(), line.endText(),
        ]
        #expect(ends[0] == "", "the evaluation's line has ended")
        #expect(ends[2...] == ["\n", ""])
    }

    /// Only when all are, 100 % are.
    @Test(arguments: [(20_000, "100.00 %"), (19_999, "99.99 %"), (10_000, "50.00 %"), (0, "0.00 %")])
    func pairsAreCounted(exact: Int, expected: String) {
        let match = ExactMatch(pairs: 20_000, exact: exact)
        var line = ProgressLine(terminal: Terminal(isLive: false))
        let evaluation = EvaluationRecord(
            step: 5, validationLoss: 0.25, bitsPerByte: nil, exactMatch: match, tokens: 100, seconds: nil)
        #expect(
            line.text(for: evaluation, of: 5)
                == "step 5/5  validation loss 0.2500  exact match \(expected)  100 tokens\n")
        #expect(match.description.hasPrefix("\(expected) ("))
    }

    @Test func numbersThatAreNoneAreShown() throws {
        var line = ProgressLine(terminal: Terminal(isLive: false))
        var progress = StepProgress(steps: 2)
        progress.add(StepSample(step: 1, rank: 0))
        let text = line.text(for: progress, at: 0) ?? ""
        #expect(text.contains("loss nan"))
        #expect(text.contains("0 tok/s"))
    }
}

@Suite struct VerificationTableTests {
    private func lines(_ verification: Verification, all: Bool = false) -> [String] {
        VerificationTable(verification).text(allRanks: all).split(separator: "\n").map(String.init)
    }

    private func row(_ term: String, in lines: [String]) throws -> [String] {
        let line = try #require(lines.first { $0.hasPrefix(term + " ") })
        return line.split(separator: "  ").map { $0.trimmingPrefix(" ").description }.filter { !$0.isEmpty }
    }

    @Test func aRunAsEstimated() throws {
        let lines = lines(try FakeRun().verification())
        #expect(lines.count == VerifiedTerm.all.count + 3)
        #expect(
            try row("parameters", in: lines) == [
                "parameters", "0", "1,000", "1,000", "0", "0", "exact", "on 2 of 2 ranks",
            ])
        #expect(try row("flops.matmul_per_step", in: lines)[2...3] == ["6.00 KFLOP", "6.00 KFLOP"])
        #expect(try row("memory.activations", in: lines)[2...3] == ["29.3 KiB", "29.3 KiB"])
        #expect(
            try row("memory.peak", in: lines)
                == ["memory.peak", "0", "195 KiB", "195 KiB", "0.00 %", "±2 %", "within", "0.00 % … 0.00 %"])
        #expect(
            try row("time.backward", in: lines)
                == ["time.backward", "0", "-", "20.0 ms", "-", "-", "-", "20.0 ms … 20.0 ms"])
        #expect(
            lines.suffix(2) == [
                "all 10 exact terms exact on all 2 ranks, 5 steps",
                "peak memory within ±2 % (rank 0: 0.00 %)",
            ])
    }

    @Test func theWorstRankComesFirstWithAllItsDigits() throws {
        let verification = try FakeRun(ranks: 4).verification { sample in
            if sample.rank == 2 && sample.step > 3 { sample.bytes.activations += 16 }
            if sample.rank == 3 { sample.bytes.residentPeak = 240_000 }
            if sample.rank == 1 { sample.bytes.residentPeak = 170_000 }
        }
        let table = lines(verification)
        #expect(
            try row("memory.activations", in: table)
                == [
                    "memory.activations", "2", "30,000 B", "30,016 B", "+16", "0", "differs",
                    "on 1 of 4 ranks",
                ])
        #expect(try row("memory.peak", in: table)[1] == "3")
        #expect(try row("memory.peak", in: table).last == "-15.0 % … +20.0 %")
        #expect(
            table.suffix(3) == [
                "2 of \(VerifiedTerm.all.count) terms miss their tolerances:",
                "  memory.activations on rank 2: 30,016 B instead of 30,000 B (+16, allowed 0), in 2 steps, "
                    + "first in step 4",
                "  memory.peak on ranks 1, 3: 234 KiB instead of 195 KiB (+20.0 %, allowed ±2 %)",
            ])
        let everyRank = lines(verification, all: true).filter { $0.hasPrefix("memory.peak ") }
        let ranks = everyRank.map { $0.split(separator: " ")[1] }
        #expect(ranks == ["3", "1", "0", "2"])
    }

    @Test func columnsAreAligned() throws {
        let lines = lines(try FakeRun(ranks: 12).verification { $0.seconds.backward *= Double($0.rank + 1) })
        let header = lines[0]
        let end = try #require(header.range(of: "measured")).upperBound
        let column = header.distance(from: header.startIndex, to: end)
        for line in lines[1...VerifiedTerm.all.count] {
            let place = line.index(line.startIndex, offsetBy: column)
            #expect(line[line.index(before: place)] != " " && line[place] == " ", "\(line)")
        }
    }

    @Test func colorIsOnlyAddedWhereThereIsSome() throws {
        let verification = try FakeRun().verification()
        let colored = VerificationTable(verification, terminal: Terminal(isLive: true, hasColor: true)).text()
        #expect(colored.contains("\u{1B}["))
        #expect(!VerificationTable(verification).text().contains("\u{1B}["))
    }
}
