import Configs
import Cost
import Foundation

/// The machine's profile on disk.
public enum ProfileFile {
    /// Where `calibrate` writes and `estimate` and `train` look unless told otherwise:
    /// `$XDG_DATA_HOME/lockstep/profile.json`, by default `~/.local/share/lockstep/profile.json`.
    public static var defaultPath: String {
        let environment = ProcessInfo.processInfo.environment
        if let home = environment["XDG_DATA_HOME"], home.hasPrefix("/") {
            return "\(home)/lockstep/profile.json"
        }
        return "\(environment["HOME"] ?? NSHomeDirectory())/.local/share/lockstep/profile.json"
    }

    /// Reads and checks a profile. Throws `.inputMissing`, or `.badData` when it is damaged, was written by another
    /// version, or holds figures that no machine has.
    public static func read(_ path: String) throws(LockstepError) -> Profile {
        try profile(in: JSONFile.contents(of: path), of: path)
    }

    /// The profile at the default path; nil when there is none, or one of an older version.
    public static func readDefault() throws(LockstepError) -> Profile? {
        let path = defaultPath
        guard FileManager.default.fileExists(atPath: path) else { return nil }
        let text = try JSONFile.contents(of: path)
        return try version(in: text, of: path) < Profile.currentSchemaVersion
            ? nil : profile(in: text, of: path)
    }

    private static func profile(in text: Data, of path: String) throws(LockstepError) -> Profile {
        let version = try version(in: text, of: path)
        guard version == Profile.currentSchemaVersion else {
            throw LockstepError(
                .badData,
                "\(path): schema_version is \(version), but this program knows version "
                    + "\(Profile.currentSchemaVersion); "
                    + (version > Profile.currentSchemaVersion
                        ? "use the newer program that wrote it, or calibrate again with this one"
                        : "calibrate again: mpirun -n N lockstep calibrate"))
        }
        let profile = try JSONFile.decode(Profile.self, from: text, of: path, remedy: remedy)
        if let fault = profile.fault { throw LockstepError(.badData, "\(path): \(fault); \(remedy)") }
        return profile
    }

    private static func version(in text: Data, of path: String) throws(LockstepError) -> Int {
        try JSONFile.decode(Version.self, from: text, of: path, remedy: remedy).schemaVersion
    }

    private static let remedy =
        "the file was changed by hand or is damaged. Calibrate again: mpirun -n N lockstep calibrate"

    /// Writes a profile, and the folders above it. Throws `.cannotCreate` or `.inputOutput`.
    public static func write(_ profile: Profile, to path: String) throws(LockstepError) {
        let folder = (path as NSString).deletingLastPathComponent
        if !folder.isEmpty {
            do {
                try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            } catch {
                throw LockstepError(.cannotCreate, "\(folder): \(error.localizedDescription)")
            }
        }
        try JSONFile.write(profile, to: path)
    }

    private struct Version: Decodable {
        var schemaVersion: Int
        enum CodingKeys: String, CodingKey { case schemaVersion = "schema_version" }
    }
}
