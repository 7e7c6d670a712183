import Configs
import Cost
import Foundation

/// The folder of a run and the files in it.
public struct RunDirectory: Sendable, Equatable {
    public let path: String

    /// The configuration as resolved.
    public var config: String { path + "/config.yaml" }
    /// What the run was expected to cost, written before it.
    public var estimate: String { path + "/estimate.json" }
    /// What every rank measured, a line per rank and step.
    public var ledger: String { path + "/ledger.jsonl" }
    /// The two side by side, written after the run.
    public var verification: String { path + "/verification.json" }
    /// Losses on the validation split.
    public var evaluations: String { path + "/evaluations.jsonl" }
    /// How long checkpoints took.
    public var checkpointLog: String { path + "/checkpoints.jsonl" }
    /// From which steps it was resumed.
    public var resumes: String { path + "/resumes.jsonl" }
    /// How fast the machine was at both ends of the run.
    public var speed: String { path + "/speed.json" }
    /// What every host's ranks took together at the end.
    public var memory: String { path + "/memory.json" }
    public var status: String { path + "/status.json" }
    public var checkpoints: String { path + "/checkpoints" }
    /// Token shards made for this run.
    public var data: String { path + "/data" }
    public func log(rank: Int) -> String { "\(path)/log/rank-\(rank).log" }
    /// What a rank is doing; see `Heartbeat`.
    package func heartbeat(rank: Int) -> String { "\(path)/log/heartbeat-\(rank)" }

    /// Everything that a run may hold, by name.
    fileprivate static let entries = [
        "config.yaml", "estimate.json", "ledger.jsonl", "verification.json", "evaluations.jsonl",
        "checkpoints.jsonl", "resumes.jsonl", "speed.json", "memory.json", "status.json", "log",
        "checkpoints", "data",
    ]
    fileprivate static let folders = ["log", "checkpoints", "data"]

    fileprivate init(path: String) { self.path = path }

    /// An existing run. Throws `inputMissing` when there is no such folder, or nothing of a run in it.
    public init(existing path: String) throws(LockstepError) {
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder), isFolder.boolValue else {
            throw LockstepError(
                .inputMissing,
                "\(path): no such run folder; `lockstep train` makes one, below runs/ by default")
        }
        guard Self.entries.contains(where: { FileManager.default.fileExists(atPath: "\(path)/\($0)") }) else {
            throw LockstepError(
                .inputMissing,
                "\(path): this folder holds no run (it has no config.yaml); name one that `lockstep train` made, "
                    + "below runs/ by default")
        }
        self.init(path: path)
    }
}

extension RunDirectory {
    /// Makes those folders of the run that an interrupted start has not made. Throws `cannotCreate`.
    package func makeFolders() throws(LockstepError) {
        for folder in Self.folders where mkdir("\(path)/\(folder)", 0o755) != 0 && errno != EEXIST {
            throw LockstepError(.cannotCreate, "\(path)/\(folder): cannot be made: \(systemErrorText())")
        }
    }
}

/// The folder of a run that is starting up. Until `keep` is called it is provisional: when it goes out of scope, which
/// includes any error on the way to the first step, whatever was put into the run is removed again.
public struct NewRunDirectory: ~Copyable {
    public let directory: RunDirectory
    /// Folders made on the way to `directory`, outermost first, itself included.
    private let madeFolders: [String]
    private var isKept = false

    /// Makes the folder and the folders inside of it. Throws `cannotCreate` when it already holds a run, or part of one,
    /// and when it cannot be made; nothing is left behind then.
    public init(path: String) throws(LockstepError) {
        let directory = RunDirectory(path: path)
        if let entry = RunDirectory.entries.first(where: { Self.exists("\(path)/\($0)") }) {
            throw Self.occupied(path, by: entry)
        }
        var made: [String] = []
        guard Self.makeFolders(to: path, made: &made) else {
            let reason = systemErrorText()
            made.reversed().forEach { rmdir($0) }
            throw Self.cannotCreate(path, reason)
        }
        // The first folder claims the run: of two processes that start at once, only one makes it.
        for (index, folder) in RunDirectory.folders.enumerated() where mkdir("\(path)/\(folder)", 0o755) != 0
        {
            let isTaken = errno == EEXIST
            let reason = systemErrorText()
            RunDirectory.folders[..<index].forEach { rmdir("\(path)/\($0)") }
            made.reversed().forEach { rmdir($0) }
            throw isTaken ? Self.occupied(path, by: folder) : Self.cannotCreate(path, reason)
        }
        self.directory = directory
        madeFolders = made
    }

    deinit {
        if !isKept { discardContents() }
    }

    /// The run has begun: its folder stays, whatever happens next.
    public consuming func keep() -> RunDirectory {
        isKept = true
        return directory
    }

    private borrowing func discardContents() {
        for entry in RunDirectory.entries {
            try? FileManager.default.removeItem(atPath: "\(directory.path)/\(entry)")
        }
        madeFolders.reversed().forEach { rmdir($0) }
    }

    /// Makes `path` and the folders above it, noting which were not there before. On failure, `errno` says why.
    private static func makeFolders(to path: String, made: inout [String]) -> Bool {
        if mkdir(path, 0o755) == 0 {
            made.append(path)
            return true
        }
        if errno == EEXIST { return isFolder(path) }
        guard errno == ENOENT else { return false }
        let parent = (path as NSString).deletingLastPathComponent
        guard !parent.isEmpty, parent != path, makeFolders(to: parent, made: &made) else { return false }
        guard mkdir(path, 0o755) == 0 else { return false }
        made.append(path)
        return true
    }

    private static func isFolder(_ path: String) -> Bool {
        if exists(path + "/.") { return true }
        errno = ENOTDIR
        return false
    }

    /// Whether something, be it a dangling link, has this name.
    private static func exists(_ path: String) -> Bool {
        var information = stat()
        return lstat(path, &information) == 0
    }

    private static func occupied(_ path: String, by entry: String) -> LockstepError {
        LockstepError(
            .cannotCreate,
            "\(path): this folder already holds a run (it has \(entry)), which is never overwritten; give the new "
                + "run another name=… or another folder with --out, or remove this one")
    }

    private static func cannotCreate(_ path: String, _ reason: String) -> LockstepError {
        LockstepError(
            .cannotCreate,
            "\(path): the run folder cannot be made: \(reason); choose a place that you "
                + "may write to with --out")
    }
}
