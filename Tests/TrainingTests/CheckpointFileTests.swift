import Configs
import Foundation
import Interchange
import Kernels
import Ledger
import TestSupport
import Testing
import Training
import Transformer

/// Checkpoints that are not what was written.
@Suite(.serialized) struct CheckpointFileTests {
    private let experiment: Experiment
    private let run: RunDirectory
    private var newest: String { "\(run.checkpoints)/step-6" }

    /// A run with two checkpoints.
    init() throws {
        experiment = try Experiment()
        let result = try experiment.train("run", ranks: 2, "train.checkpoint_every=3")
        try #require(result.exitCode == 0, "\(result.standardError)")
        run = try experiment.directory("run")
    }

    private func files() throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: newest).sorted()
    }

    /// Runs `body` on the content of a file, and expects that the older checkpoint is found.
    private func expectFallBack(_ file: String, _ label: String, _ change: (inout Data) -> Void) throws {
        let url = URL(filePath: "\(newest)/\(file)")
        let content = try Data(contentsOf: url)
        var changed = content
        change(&changed)
        try changed.write(to: url)
        #expect(try CheckpointLoader.newestWholeStep(of: run) == 3, "\(file): \(label)")
        try content.write(to: url)
    }

    @Test func everyFlippedBitAndCutIsFound() throws {
        #expect(try CheckpointLoader.newestWholeStep(of: run) == 6)
        #expect(
            try files() == [
                "manifest.json", "model.safetensors", "optimizer-0-of-2.safetensors",
                "optimizer-1-of-2.safetensors", "state.json",
            ])
        var random = SplitMix64(seed: 7)
        for file in try files() {
            let size = try Data(contentsOf: URL(filePath: "\(newest)/\(file)")).count
            for _ in 0..<200 {
                let bit = Int(random.next() % UInt64(8 * size))
                try expectFallBack(file, "bit \(bit)") { $0[bit / 8] ^= 1 << UInt8(bit % 8) }
            }
            for _ in 0..<40 {
                let length = Int(random.next() % UInt64(size))
                try expectFallBack(file, "cut to \(length)") { $0.removeLast(size - length) }
            }
            try expectFallBack(file, "a byte more") { $0.append(0) }
            try expectFallBack(file, "empty") { $0 = Data() }
        }
        #expect(try CheckpointLoader.newestWholeStep(of: run) == 6)
    }

    @Test func everyFileIsMissed() throws {
        for file in try files() {
            let (path, away) = ("\(newest)/\(file)", "\(experiment.folder)/away")
            try FileManager.default.moveItem(atPath: path, toPath: away)
            #expect(try CheckpointLoader.newestWholeStep(of: run) == 3, "\(file)")
            // A pipe has nobody who writes into it.
            #expect(mkfifo(path, 0o600) == 0)
            #expect(try CheckpointLoader.newestWholeStep(of: run) == 3, "\(file)")
            try FileManager.default.removeItem(atPath: path)
            try FileManager.default.moveItem(atPath: away, toPath: path)
        }
    }

    @Test func parametersThatAreNotFiniteAreNamed() throws {
        var layout = ParameterLayout()
        _ = layout.add("first", .bias, shape: [2], initialization: .zeros)
        _ = layout.add("second", .bias, shape: [3], initialization: .zeros)
        let header = try TensorFile.header(layout.tensors.map { ($0.name, $0.shape) })
        let numbers = UnsafeMutablePointer<Float>.allocate(capacity: layout.count)
        defer { numbers.deallocate() }
        let parameters = Vector(base: numbers, count: layout.count)
        for value in [.greatestFiniteMagnitude, .infinity, .nan] as [Float] {
            let content = ([1, 2, 3, value, 5] as [Float]).withUnsafeBytes { Data($0) }
            let path = try experiment.write(header + content, to: "numbers.safetensors")
            let read = { try CheckpointLoader.read(path, layout: layout, into: parameters) }
            guard !value.isFinite else {
                try read()
                #expect(parameters[3] == value)
                continue
            }
            let error = #expect(throws: LockstepError.self, performing: read)
            #expect(error?.status == .badData)
            #expect(error?.description == "\(path): tensor second holds numbers that are not finite")
        }
    }

    /// States that agree with the manifest, but not with the run.
    @Test(arguments: [
        ("\"exp_avg_sq\"", "\"exp_avg_sq\", \"third\"", "'optimizer_state' names 3"),
        ("\"data_cursor\" : 72", "\"data_cursor\" : 71", "data_cursor 71"),
        ("\"data_cursor\" : 72", "\"data_cursor\" : 60", "data_cursor 60"),
    ])
    func aStateOfAnotherRunIsRefused(part: String, other: String, words: String) throws {
        let state = try String(contentsOfFile: "\(newest)/state.json", encoding: .utf8)
        let changed = [UInt8](state.replacing(part, with: other).utf8)
        try #require(state.contains(part))
        let manifest = try JSONDecoder().decode(
            Manifest.self, from: Data(contentsOf: URL(filePath: "\(newest)/manifest.json")))
        let file = Manifest.File(name: "state.json", bytes: changed.count, sha256: Digest.text(of: changed))
        let sealed = try Manifest(step: 6, files: manifest.files.filter { $0.name != file.name } + [file])
        try Data(changed).write(to: URL(filePath: "\(newest)/state.json"))
        try sealed.encoded().write(to: URL(filePath: "\(newest)/manifest.json"))
        let result = try experiment.train(
            "run", ranks: 2, "train.checkpoint_every=3", "train.steps=8", "--resume")
        #expect(result.exitCode == ExitStatus.badData.rawValue, "\(result.standardError)")
        #expect(result.standardError.contains(words), "\(result.standardError)")
    }

    /// Headers that nobody but an enemy writes; the manifest does not help against one.
    @Test(arguments: [
        (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, 8, nil as String?),
        (#"{"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}}"#, 8, "F64"),
        (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,7]}}"#, 8, "data_offsets"),
        (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}"#, 8, "data_offsets"),
        (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}}"#, 8, "data_offsets"),
        (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0]}}"#, 8, "data_offsets"),
        (#"{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}"#, 8, "shape"),
        (#"{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,8]}}"#, 8, "shape"),
        (#"{"a":{"dtype":"F32","shape":[9223372036854775808],"data_offsets":[0,8]}}"#, 8, "offset 8"),
        (
            #"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#,
            8, "overlaps"
        ),
        (#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#, 8, "begins at offset 4"),
        (#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, 8, "names 4"),
        (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,16]}}"#, 8, "data_offsets"),
        (#"{"a":[1]}"#, 8, "offset 8"), ("[", 8, "offset 8"), ("", 8, "offset 8"),
        (#"{"a":{"dtype":"F32"}}"#, 0, "expected dtype"), (#"{"a":{"x":"y"}}"#, 0, "expected dtype"),
    ])
    func aHostileHeaderIsRefused(header: String, dataBytes: Int, words: String?) throws {
        let length = withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { Data($0) }
        let path = try experiment.write(length + Data(header.utf8) + Data(count: dataBytes), to: "hostile")
        guard let words else {
            _ = try TensorFileReader(path, mostTensors: 4)
            return
        }
        let error = #expect(throws: LockstepError.self) { _ = try TensorFileReader(path, mostTensors: 4) }
        #expect(error?.status == .badData && error?.description.contains("hostile") == true)
        #expect(error?.description.contains(words) == true, "\(error?.description ?? "")")
    }

    @Test(arguments: [("[", 60_000, "offset 8"), (" ", 200_000, "at most")])
    func aLongHeaderIsRefused(character: String, count: Int, words: String) throws {
        try aHostileHeaderIsRefused(
            header: String(repeating: character, count: count), dataBytes: 8, words: words)
    }

    @Test(arguments: [UInt64.max, 1 << 63, 1 << 40, 9])
    func aHostileLengthIsRefused(length: UInt64) throws {
        let path = try experiment.write(
            withUnsafeBytes(of: length.littleEndian) { Data($0) } + Data("{}".utf8), to: "hostile")
        let error = #expect(throws: LockstepError.self) { _ = try TensorFileReader(path, mostTensors: 4) }
        #expect(error?.status == .badData && error?.description.contains("claims \(length) bytes") == true)
    }
}
