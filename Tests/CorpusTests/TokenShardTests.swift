import Configs
import Corpus
import Foundation
import Glibc
import Testing

@Suite struct TokenShardTests {
    private func failure(of path: String) -> LockstepError? {
        do {
            _ = try TokenShard(path: path)
            return nil
        } catch let error as LockstepError {
            return error
        } catch {
            Issue.record("\(path): \(error) is not a LockstepError")
            return nil
        }
    }

    @Test func writerProducesTheBytesOfTheFormat() throws {
        let folder = try TemporaryFolder()
        let tokens: [UInt16] = [0, 1, 255, 256, 50_256, 65_535]
        var writer = try TokenShardWriter(path: "\(folder.path)/a.bin")
        try writer.append(Array(tokens[..<2]))
        try writer.append([UInt16]())
        try writer.append(Array(tokens[2...]))
        try writer.finish()

        let bytes = try Data(contentsOf: URL(fileURLWithPath: "\(folder.path)/a.bin"))
        #expect(Array(bytes) == shardBytes(tokens: tokens))
        let shard = try TokenShard(path: "\(folder.path)/a.bin")
        #expect(shard.count == tokens.count)
        #expect(try shard.all() == tokens.map(Int32.init))
    }

    /// A vocabulary of more than 65,536 ids takes 32 bits each, as in llm.c's shards for Llama 3.
    @Test func wideTokens() throws {
        let folder = try TemporaryFolder()
        let path = "\(folder.path)/a.bin"
        let tokens: [Int32] = [0, 65_535, 65_536, 128_255]
        var writer = try TokenShardWriter(path: path, vocabSize: 128_256)
        try writer.append(tokens)
        try writer.finish()
        let bytes = try Data(contentsOf: URL(fileURLWithPath: path))
        #expect(
            Array(bytes)
                == shardBytes(tokens: [], magic: 20_240_801, version: 7, announced: 4)
                + tokens.flatMap { littleEndianBytes($0) })
        let shard = try TokenShard(path: path)
        #expect(try shard.all() == tokens)
        try shard.validate(vocabSize: 128_256)
        #expect(throws: LockstepError.self) { try shard.validate(vocabSize: 128_255) }
    }

    @Test func copiesRangesAsInt32() throws {
        let folder = try TemporaryFolder()
        let tokens = (0..<1000).map { UInt16(truncatingIfNeeded: $0 &* 40_503) }
        let shard = try TokenShard(path: folder.write(shardBytes(tokens: tokens), to: "a.bin"))
        for range in [0..<0, 0..<1, 999..<1000, 1000..<1000, 3..<20, 0..<1000] {
            var copied = [Int32](repeating: -1, count: range.count + 1)
            try copied.withUnsafeMutableBufferPointer { try shard.copy(range, to: $0.baseAddress!) }
            #expect(copied.dropLast() == tokens[range].map(Int32.init)[...])
            #expect(copied.last == -1)
        }
    }

    /// No signal, as of a mapping.
    @Test func aFileCutShortMeanwhileIsAnError() throws {
        let folder = try TemporaryFolder()
        let path = try folder.write(shardBytes(tokens: (0..<1000).map { $0 }), to: "a.bin")
        let shard = try TokenShard(path: path)
        #expect(truncate(path, 2000) == 0)
        var tokens = [Int32](repeating: -1, count: 1000)
        try shard.copy(0..<488, to: &tokens)
        for range in [480..<489, 488..<489, 900..<1000] {
            let error = #expect(throws: LockstepError.self) { try shard.copy(range, to: &tokens) }
            #expect(error?.status == .inputOutput)
            #expect(error?.description.contains("a.bin has 2000 bytes, but had 3024 when") == true)
        }
        #expect(throws: LockstepError.self) { try shard.validate(vocabSize: 1000) }
    }

    @Test func malformedFilesAreNamedWithOffsetAndExpectation() throws {
        let folder = try TemporaryFolder()
        let good = shardBytes(tokens: [1, 2, 3])
        let cases: [(name: String, bytes: [UInt8], expected: [String])] = [
            ("empty", [], ["offset 0", "1024"]),
            ("short", Array(good[..<3]), ["offset 3", "1024"]),
            ("header", Array(good[..<1023]), ["offset 1023", "1024"]),
            ("magic", shardBytes(tokens: [1], magic: 7), ["offset 0", "20240520", "found 7"]),
            ("text", Array("In the beginning God created the heaven".utf8), ["offset 0", "20240520"]),
            (
                "wide", shardBytes(tokens: [1], magic: 20_240_801, version: 7),
                ["1 tokens", "1028 bytes", "has 1026"]
            ),
            ("wide-version", shardBytes(tokens: [1], magic: 20_240_801), ["version 7", "found 1"]),
            ("version", shardBytes(tokens: [1], version: 2), ["offset 4", "version 1", "found 2"]),
            ("negative", shardBytes(tokens: [1], announced: -1), ["offset 8", "-1"]),
            ("none", shardBytes(tokens: []), ["offset 8", "found 0"]),
            ("truncated", Array(good.dropLast()), ["offset 1029", "3 tokens", "1030 bytes", "has 1029"]),
            ("long", good + [0], ["offset 1030", "3 tokens", "1030 bytes", "has 1031"]),
            ("huge", shardBytes(tokens: [1], announced: .max), ["2147483647 tokens", "4294968318 bytes"]),
        ]
        for (name, bytes, expected) in cases {
            let path = try folder.write(bytes, to: "\(name).bin")
            let error = try #require(failure(of: path), "\(name) was accepted")
            #expect(error.status == .badData, "\(name)")
            for text in [path] + expected {
                #expect(error.description.contains(text), "\(name): \(error.description)")
            }
        }
    }

    @Test func missingFoldersPipesAndUnreadableFiles() throws {
        let folder = try TemporaryFolder()
        #expect(failure(of: "\(folder.path)/none.bin")?.status == .inputMissing)
        #expect(failure(of: folder.path)?.status == .badData)
        #expect(mkfifo("\(folder.path)/pipe.bin", 0o644) == 0)
        #expect(failure(of: "\(folder.path)/pipe.bin")?.status == .badData)
        #expect(failure(of: "/dev/zero")?.status == .badData)
        let loop = "\(folder.path)/loop.bin"
        #expect(symlink(loop, loop) == 0)
        #expect(failure(of: loop)?.status == .inputOutput)
    }

    @Test(.enabled(if: geteuid() != 0, "root may read everything"))
    func unreadableFile() throws {
        let folder = try TemporaryFolder()
        let path = try folder.write(shardBytes(tokens: [1]), to: "a.bin")
        #expect(chmod(path, 0) == 0)
        #expect(failure(of: path)?.status == .inputOutput)
    }

    @Test func tokenOutsideTheVocabularyIsNamed() throws {
        let folder = try TemporaryFolder()
        let path = try folder.write(shardBytes(tokens: [3, 5, 9, 4, 11]), to: "a.bin")
        let shard = try TokenShard(path: path)
        try shard.validate(vocabSize: 12)
        try shard.validate(vocabSize: 65_536)
        let error = #expect(throws: LockstepError.self) { try shard.validate(vocabSize: 9) }
        #expect(error?.status == .badData)
        for text in [path, "offset 1028", "token 2 ", "id 9", "model.vocab_size is 9"] {
            #expect(error?.description.contains(text) == true, "\(text)")
        }
    }

    @Test func unfinishedShardLeavesNothingBehind() throws {
        let folder = try TemporaryFolder()
        do {
            var writer = try TokenShardWriter(path: "\(folder.path)/a.bin")
            try writer.append([1, 2, 3])
            #expect(try folder.contents.count == 1)
            #expect(try folder.contents != ["a.bin"])
        }
        #expect(try folder.contents == [])
    }

    @Test func finishReplacesAnOlderShard() throws {
        let folder = try TemporaryFolder()
        let path = "\(folder.path)/a.bin"
        for tokens: [UInt16] in [[1, 2, 3], [4]] {
            var writer = try TokenShardWriter(path: path)
            try writer.append(tokens)
            try writer.finish()
        }
        #expect(try TokenShard(path: path).count == 1)
        #expect(try folder.contents == ["a.bin"])
    }

    @Test func folderThatCannotBeWritten() throws {
        for path in ["/proc/a.bin", "/nonexistent/a.bin", "/dev/null/a.bin"] {
            let error = #expect(throws: LockstepError.self) { _ = try TokenShardWriter(path: path) }
            #expect(error?.status == .cannotCreate)
            #expect(error?.description.contains(path) == true)
        }
    }

    /// Needs the right to mount a small file system of its own.
    @Test func fullDiskLeavesTheOlderShard() throws {
        let folder = try TemporaryFolder()
        guard mount("tmpfs", folder.path, "tmpfs", 0, "size=16k") == 0 else { return }
        defer { umount(folder.path) }
        let path = "\(folder.path)/a.bin"
        var older = try TokenShardWriter(path: path)
        try older.append([1, 2, 3])
        try older.finish()

        let error = #expect(throws: LockstepError.self) {
            var writer = try TokenShardWriter(path: path)
            try writer.append([UInt16](repeating: 7, count: 100_000))
            try writer.finish()
        }
        #expect(error?.status == .inputOutput)
        #expect(error?.description.contains(path) == true)
        #expect(try folder.contents == ["a.bin"])
        #expect(try TokenShard(path: path).count == 3)

        // Full to the last page: not even the header of a new shard fits.
        _ = try? folder.write([UInt8](repeating: 0, count: 1 << 20), to: "filler")
        let second = #expect(throws: LockstepError.self) { _ = try TokenShardWriter(path: path) }
        #expect(second?.status == .inputOutput)
        #expect(try folder.contents.filter { $0.hasPrefix("a.bin") } == ["a.bin"])
    }
}
