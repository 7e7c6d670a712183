import Foundation

/// The reference answers under `Tests/Fixtures`.
public enum Fixture {
    public static let directory = URL(filePath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().appending(path: "Fixtures")

    /// Reads `Tests/Fixtures/PATH.safetensors`.
    public static func tensors(_ path: String) throws -> SafetensorsFixture {
        try SafetensorsFixture(contentsOf: directory.appending(path: path + ".safetensors"))
    }

    /// Reads `Tests/Fixtures/PATH.json`.
    public static func json(_ path: String) throws -> Data {
        try Data(contentsOf: directory.appending(path: path + ".json"))
    }
}
