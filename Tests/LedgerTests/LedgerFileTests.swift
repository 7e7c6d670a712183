import Configs
import Foundation
import Ledger
import Testing

@Suite struct LedgerFileTests {
    @Test func aLineIsTheContractToTheLetter() throws {
        try withTemporaryFolder { folder in
            let path = folder + "/ledger.jsonl"
            var writer = try LedgerWriter(path: path, hosts: ["a", "b", "node \"7\"\\é"])
            try writer.append(StepSampleTests.distinct)
            #expect(try contents(path) == "", "lines are buffered")
            try writer.flush()
            let expected =
                #"{"step":28,"rank":2,"host":"node ?7????","loss":0.30000000000000004,"tokens":4,"#
                + #""learning_rate":5e-300,"gradient_norm":6.5,"seconds":{"data":7e-09,"forward":8.25,"#
                + #""backward":9.5,"reduce_overlapped":9.625,"wait":9.75,"reduce_exposed":10.5,"optimizer":11.5,"total":12.123456789},"#
                + #""matmul_flops":9007199254740991,"bytes":{"rss":14,"rss_peak":15,"rss_anonymous":16,"#
                + #""rss_file":17,"rss_shared":18,"parameters":19,"gradients":20,"optimizer":21,"#
                + #""activations":22,"workspace":23,"communication":24,"data":25},"sent_bytes":27,"skipped":true,"#
                + #""speed":{"flops_per_second":29,"kernel_elements_per_second":30,"copy_bytes_per_second":31,"#
                + #""exchange":{"cached_bytes_per_second":32,"gradient_bytes_per_second":33,"shard_bytes_per_second":34},"#
                + #""handover_bytes_per_second":35}}"#
                + "\n"
            #expect(try contents(path) == expected)
            let (lines, truncatedLine) = try LedgerReader.readAll(path)
            #expect(lines.map(\.sample) == [StepSampleTests.distinct])
            #expect(lines.map(\.host) == ["node ?7????"])
            #expect(truncatedLine == nil)
        }
    }

    @Test func whatIsNotFiniteIsNull() throws {
        try withTemporaryFolder { folder in
            let path = folder + "/ledger.jsonl"
            var writer = try LedgerWriter(path: path, hosts: ["a"])
            var sample = StepSample(step: 1, rank: 0)
            sample.gradientNorm = .infinity
            try writer.append(sample)
            try writer.flush()
            #expect(
                try contents(path).contains(
                    #""loss":null,"tokens":0,"learning_rate":null,"gradient_norm":null"#))
            #expect(try contents(path).contains(#""seconds":{"data":0,"forward":0,"#))
            let line = try #require(try LedgerReader.readAll(path).lines.first)
            #expect(line.sample.loss.isNaN && line.sample.gradientNorm.isNaN)
        }
    }

    @Test func manyLinesPassThroughTheBuffer() throws {
        try withTemporaryFolder { folder in
            let run = FakeRun(ranks: 3, steps: 700)
            let path = try run.write(below: folder).ledger
            let (lines, _) = try LedgerReader.readAll(path)
            #expect(lines.count == 2100)
            for (index, line) in lines.enumerated() {
                #expect(line.sample == run.sample(step: index / 3 + 1, rank: index % 3))
                #expect(line.host == "node\(index % 3)")
            }
        }
    }

    @Test func appendingContinuesAfterTheLastWholeLine() throws {
        try withTemporaryFolder { folder in
            let path = try FakeRun(ranks: 1, steps: 20).write(below: folder).ledger
            let whole = try contents(path)
            // Cut inside of the last line, and cut everything but a part of the first one.
            for kept in [whole.utf8.count - 17, 40] {
                try Data(whole.utf8.prefix(kept)).write(to: URL(filePath: path))
                var writer = try LedgerWriter(path: path, hosts: ["a"])
                try writer.append(FakeRun(ranks: 1).sample(step: 99, rank: 0))
                try writer.flush()
                let (lines, truncatedLine) = try LedgerReader.readAll(path)
                #expect(lines.map(\.sample.step) == Array(1..<(kept == 40 ? 1 : 20)) + [99])
                #expect(truncatedLine == nil)
            }
        }
    }

    @Test func aTruncatedLastLineEndsTheFileAndIsNamed() throws {
        try withTemporaryFolder { folder in
            let path = try FakeRun(ranks: 1, steps: 3).write(below: folder).ledger
            let whole = Data(try contents(path).utf8)
            let lastLine = whole.dropLast().lastIndex(of: UInt8(ascii: "\n"))! + 1
            for kept in lastLine..<whole.count {
                try whole.prefix(kept).write(to: URL(filePath: path))
                let (lines, truncatedLine) = try LedgerReader.readAll(path)
                let isWhole = kept == whole.count - 1
                #expect(lines.count == (isWhole ? 3 : 2))
                #expect(truncatedLine == (kept == lastLine || isWhole ? nil : 3))
            }
        }
    }

    @Test func aDamagedLineIsNamedWithFileAndKey() throws {
        try withTemporaryFolder { folder in
            let path = try FakeRun(ranks: 1, steps: 4).write(below: folder).ledger
            let lines = try contents(path).split(separator: "\n")
            let damages: [(String, String, String)] = [
                (#""rss_peak":200000"#, #""rss_peak":-1"#, "'bytes.rss_peak'"),
                (#""rss_peak":200000"#, #""rss_peak":9007199254740993"#, "'bytes.rss_peak'"),
                (#""rss_peak":200000,"#, "", "'bytes.rss_peak' is missing"),
                (#""rank":0"#, #""rank":"0""#, "'rank' is no Int"),
                (#""tokens":256"#, #""tokens":1.5"#, "a number that is not of its key's kind"),
                (#""step":2"#, #""step":{2"#, "not valid JSON"),
            ]
            for (original, damage, text) in damages {
                var damaged = lines.map(String.init)
                damaged[1] = damaged[1].replacing(original, with: damage)
                #expect(damaged[1] != lines[1])
                try Data((damaged.joined(separator: "\n") + "\n").utf8).write(to: URL(filePath: path))
                let error = try failure { try LedgerReader.readAll(path) }
                #expect(error.status == .badData)
                #expect(error.description.hasPrefix("\(path), line 2: "), "\(error)")
                #expect(error.description.contains(text), "\(error)")
            }
        }
    }

    @Test func aLineWithoutEndIsRefused() throws {
        try withTemporaryFolder { folder in
            let path = folder + "/ledger.jsonl"
            try Data(repeating: UInt8(ascii: "["), count: 1 << 20).write(to: URL(filePath: path))
            #expect(try failure { try LedgerReader.readAll(path) }.status == .badData)
        }
    }

    @Test func aMissingLedgerIsMissingInput() throws {
        let error = try failure { try LedgerReader.readAll("/nonexistent/ledger.jsonl") }
        #expect(error.status == .inputMissing)
        #expect(error.description.contains("/nonexistent/ledger.jsonl"))
    }

    @Test func aLedgerThatCannotBeCreatedSaysSo() throws {
        let error = try failure { _ = try LedgerWriter(path: "/nonexistent/ledger.jsonl", hosts: []) }
        #expect(error.status == .cannotCreate)
    }

    #if os(Linux)
        @Test func aFullDiskIsReportedOnceAndStopsNothing() throws {
            var writer = try LedgerWriter(path: "/dev/full", hosts: ["a"])
            let run = FakeRun(ranks: 1)
            var errors: [LockstepError] = []
            for step in 1...1000 {
                do throws(LockstepError) {
                    try writer.append(run.sample(step: step, rank: 0))
                } catch {
                    errors.append(error)
                }
            }
            try writer.flush()
            #expect(errors.map(\.status) == [.inputOutput])
            #expect(errors[0].description.contains("/dev/full"))
            let lostLines = writer.lostLines
            #expect(lostLines == 1000)
        }
    #endif

    @Test func evaluationsAreWrittenAndRead() throws {
        try withTemporaryFolder { folder in
            let path = folder + "/evaluations.jsonl"
            let records = [
                EvaluationRecord(
                    step: 50, validationLoss: 2.25, bitsPerByte: 3.25, tokens: 4096, seconds: 0.125),
                EvaluationRecord(step: 100, validationLoss: nil, bitsPerByte: nil, tokens: 0, seconds: nil),
                EvaluationRecord(
                    step: 150, validationLoss: 0.5, bitsPerByte: nil,
                    exactMatch: ExactMatch(pairs: 40, exact: 39), tokens: 200, seconds: 1),
            ]
            var writer = try EvaluationWriter(path: path)
            for record in records { try writer.append(record) }
            let expected =
                #"{"step":50,"validation_loss":2.25,"bits_per_byte":3.25,"tokens":4096,"seconds":0.125}"#
                + "\n"
                + #"{"step":100,"validation_loss":null,"bits_per_byte":null,"tokens":0,"seconds":null}"#
                + "\n"
                + #"{"step":150,"validation_loss":0.5,"bits_per_byte":null,"exact_match":{"pairs":40,"exact":39},"#
                + #""tokens":200,"seconds":1}"#
                + "\n"
            #expect(try contents(path) == expected)
            var reader = try EvaluationReader(path: path)
            var read: [EvaluationRecord] = []
            while let record = try reader.next() { read.append(record) }
            #expect(read == records)
        }
    }
}
