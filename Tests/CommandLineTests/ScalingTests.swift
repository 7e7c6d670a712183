import Cost
import CostTestSupport
import Foundation
import FoundationXML
import Ledger
import TestSupport
import Testing

/// `launch/scaling`, with the program as these tests have it.
@Suite(.enabled("there is no python3 in PATH") { try hasPython() }) struct ScalingTests {
    private static let root = URL(filePath: #filePath + "/../../..").standardizedFileURL
    private static let tiny = root.appending(path: "configs/tiny.yaml").path

    private let experiment: Experiment
    private var out: String { "\(experiment.folder)/out" }

    init() throws {
        experiment = try Experiment()
        let files = FileManager.default
        try files.createDirectory(
            atPath: "\(experiment.folder)/.build/release", withIntermediateDirectories: true)
        try files.copyItem(
            atPath: Self.root.appending(path: "launch").path, toPath: "\(experiment.folder)/launch")
        try files.createSymbolicLink(
            atPath: "\(experiment.folder)/.build/release/lockstep",
            withDestinationPath: builtProduct("lockstep").path)
    }

    private func scaling(_ arguments: [String]) throws -> CommandResult {
        try run(
            URL(filePath: "\(experiment.folder)/launch/scaling"),
            arguments + ["--out", out, "data.path=\(experiment.folder)/corpus.txt"],
            environment: ["XDG_DATA_HOME": experiment.folder], timeout: 240)
    }

    private func calibrate() throws {
        try ProfileFile.write(.example(), to: "\(experiment.folder)/lockstep/profile.json")
    }

    @Test func mistakesAreExplained() throws {
        let noProfile = try scaling([Self.tiny])
        #expect(noProfile.exitCode == 66 && noProfile.standardError.contains("mpirun -n "))
        try calibrate()
        for (code, words, arguments) in [
            (64, "--seconds", [Self.tiny, "--seconds", "0"]),
            (64, "--ranks", [Self.tiny, "--ranks", "1,none"]),
            (64, "--strong", [Self.tiny, "--weak", "--strong"]),
            (64, "--threads sets it", [Self.tiny, "parallel.threads_per_rank=2"]),
            (66, "cannot read the configuration none.yaml", ["none.yaml"]),
            (78, "100000 cores", [Self.tiny, "--ranks", "100000"]),
            (
                78, "train.global_batch 12 cannot be divided among 5 ranks",
                [Self.tiny, "--ranks", "1,5", "--strong", "--oversubscribe", "--threads", "1"]
            ),
        ] as [(Int32, String, [String])] {
            let result = try scaling(arguments)
            #expect(result.exitCode == code, "\(arguments): \(result.standardError)")
            #expect(result.standardError.contains(words), "\(result.standardError)")
            #expect(result.standardOutput == "")
            #expect(!FileManager.default.fileExists(atPath: out))
        }
    }

    @Test func everyRunIsInTheTableAndThePicture() throws {
        try calibrate()
        let result = try scaling(
            [Self.tiny, "--ranks", "1,2", "--threads", "1", "--seconds", "0.1", "--oversubscribe"])
        try #require(result.exitCode == 0, "\(result.standardError)")

        let rows = result.standardOutput.split(separator: "\n").map { line in
            line.split(separator: " ").prefix(5).joined(separator: " ")
        }
        for row in ["both 1 × 1 12", "strong 2 × 1 12", "weak 2 × 1 24"] {
            #expect(rows.filter { $0 == row }.count == 1, "\(result.standardOutput)")
        }
        #expect(
            try result.standardOutput.hasPrefix(String(contentsOfFile: "\(out)/scaling.txt", encoding: .utf8))
        )
        #expect(try FileManager.default.contentsOfDirectory(atPath: out).count == 3)

        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        let report = try decoder.decode(
            Report.self, from: Data(contentsOf: URL(filePath: "\(out)/scaling.json")))
        #expect(report.runs.map(\.ranks) == [1, 2, 2])
        #expect(report.runs.map(\.globalBatch) == [12, 12, 24])
        #expect(report.runs[0].efficiency == ["predicted": 1, "measured": 1])

        let marks = Marks()
        let parser = XMLParser(data: try Data(contentsOf: URL(filePath: "\(out)/scaling.svg")))
        parser.delegate = marks
        #expect(parser.parse(), "\(String(describing: parser.parserError))")
        // Of each way of scaling and number of ranks: time, efficiency, and memory of a rank and of the node.
        for way in ["weak, 1", "weak, 2", "strong, 1", "strong, 2"] {
            for kind in ["predicted", "measured"] {
                #expect(
                    marks.titles.filter { $0.hasPrefix("\(way) × 1: \(kind) ") }.count == 4, "\(marks.titles)"
                )
            }
        }
    }

    private struct Report: Decodable {
        struct Run: Decodable {
            let ranks: Int
            let globalBatch: Int
            let efficiency: [String: Double]
        }
        let runs: [Run]
    }

    /// Collects the titles of a picture's elements.
    private final class Marks: NSObject, XMLParserDelegate {
        var titles: [String] = []
        private var isTitle = false

        func parser(
            _ parser: XMLParser, didStartElement name: String, namespaceURI: String?, qualifiedName: String?,
            attributes: [String: String]
        ) {
            isTitle = name == "title"
            if isTitle { titles.append("") }
        }

        func parser(_ parser: XMLParser, foundCharacters text: String) {
            if isTitle { titles[titles.count - 1] += text }
        }

        func parser(
            _ parser: XMLParser, didEndElement name: String, namespaceURI: String?, qualifiedName: String?
        ) { isTitle = false }
    }
}

private func hasPython() throws -> Bool {
    try run(URL(filePath: "/usr/bin/env"), ["python3", "--version"]).exitCode == 0
}
