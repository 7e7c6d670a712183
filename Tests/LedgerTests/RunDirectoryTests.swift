import Configs
import Foundation
import Ledger
import Testing

@Suite struct RunDirectoryTests {
    private func names(_ path: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: path).sorted()
    }

    @Test func aKeptRunStays() throws {
        try withTemporaryFolder { folder in
            let run = try NewRunDirectory(path: folder + "/runs/a").keep()
            #expect(try names(run.path) == ["checkpoints", "data", "log"])
            #expect(run.log(rank: 3) == folder + "/runs/a/log/rank-3.log")
            #expect(try RunDirectory(existing: run.path) == run)
        }
    }

    @Test func aFolderWithoutARunIsNone() throws {
        try withTemporaryFolder { folder in
            let error = try failure { _ = try RunDirectory(existing: folder) }
            #expect(error.status == .inputMissing && error.description.contains(folder))
        }
    }

    @Test func aRunThatFailsToStartLeavesNothing() throws {
        struct StartUpFailure: Error {}
        func start(_ path: String) throws {
            let new = try NewRunDirectory(path: path)
            try Data("name: a\n".utf8).write(to: URL(filePath: new.directory.config))
            try Data("{}".utf8).write(to: URL(filePath: new.directory.checkpoints + "/weights"))
            if path.count > 0 { throw StartUpFailure() }
            _ = new.keep()
        }
        try withTemporaryFolder { folder in
            #expect(throws: StartUpFailure.self) { try start(folder + "/runs/deep/a") }
            #expect(try names(folder) == [])
            // What was there before stays.
            try Data("notes".utf8).write(to: URL(filePath: folder + "/notes.txt"))
            #expect(throws: StartUpFailure.self) { try start(folder) }
            #expect(try names(folder) == ["notes.txt"])
        }
    }

    @Test(arguments: ["config.yaml", "ledger.jsonl", "status.json", "log", "checkpoints", "data"])
    func aFolderWithARunIsRefusedAndUntouched(entry: String) throws {
        try withTemporaryFolder { folder in
            try Data("mine".utf8).write(to: URL(filePath: folder + "/" + entry))
            let error = try failure { _ = try NewRunDirectory(path: folder) }
            #expect(error.status == .cannotCreate)
            #expect(error.description.contains(folder) && error.description.contains(entry))
            #expect(error.description.contains("--out") && error.description.contains("name="))
            #expect(try names(folder) == [entry])
            #expect(try contents(folder + "/" + entry) == "mine")
        }
    }

    @Test func aSecondStartOfTheSameRunIsRefused() throws {
        try withTemporaryFolder { folder in
            let first = try NewRunDirectory(path: folder + "/a")
            #expect(try failure { _ = try NewRunDirectory(path: folder + "/a") }.status == .cannotCreate)
            let run = first.keep()
            #expect(try names(run.path) == ["checkpoints", "data", "log"])
        }
    }

    @Test func anImpossiblePlaceIsNamed() throws {
        try withTemporaryFolder { folder in
            try Data().write(to: URL(filePath: folder + "/file"))
            for path in [folder + "/file/a", folder + "/file", "/proc/lockstep/a", ""] {
                let error = try failure { _ = try NewRunDirectory(path: path) }
                #expect(error.status == .cannotCreate)
                #expect(error.description.hasPrefix("\(path): "))
            }
            #expect(try names(folder) == ["file"])
        }
    }

    @Test func statusIsReplacedAsAWhole() throws {
        try withTemporaryFolder { folder in
            let path = folder + "/status.json"
            var status = RunStatus(state: .running, step: 3, steps: 10)
            status.loss = .nan
            try status.write(to: path, at: Date(timeIntervalSince1970: 1_700_000_000))
            let json = try #require(
                try JSONSerialization.jsonObject(with: Data(contentsOf: URL(filePath: path)))
                    as? [String: Any])
            #expect(json["state"] as? String == "running")
            #expect(json["updated"] as? String == "2023-11-14T22:13:20Z")
            #expect(
                json["loss"] is NSNull && json["exit_code"] is NSNull && json["validation_loss"] is NSNull)

            status.state = .failed
            status.step = 4
            status.loss = 2.5
            status.exitCode = 81
            status.message = "loss is NaN in step 5"
            try status.write(to: path, at: Date(timeIntervalSince1970: 1_700_000_001))
            status.updated = "2023-11-14T22:13:21Z"
            #expect(try RunStatus.read(from: path) == status)
            #expect(try names(folder) == ["status.json"], "no temporary file is left")
        }
    }

    @Test func aStatusThatCannotBeWrittenLeavesTheOldOne() throws {
        try withTemporaryFolder { folder in
            try FileManager.default.createDirectory(
                atPath: folder + "/status.json/full", withIntermediateDirectories: true)
            let status = RunStatus(state: .completed, step: 1, steps: 1)
            #expect(try failure { try status.write(to: folder + "/status.json") }.status == .inputOutput)
            #expect(try names(folder) == ["status.json"])
            #expect(
                try failure { try status.write(to: folder + "/none/status.json") }.status == .cannotCreate)
        }
    }

    @Test func damagedJSONIsNamed() throws {
        try withTemporaryFolder { folder in
            let path = folder + "/status.json"
            for (text, found) in [
                ("", "not valid JSON"), ("[]", "status.json"),
                ("{\"schema_version\":1}", "'state' is missing"),
            ] {
                try Data(text.utf8).write(to: URL(filePath: path))
                let error = try failure { try RunStatus.read(from: path) }
                #expect(error.status == .badData)
                #expect(error.description.contains(path) && error.description.contains(found), "\(error)")
            }
        }
    }
}
