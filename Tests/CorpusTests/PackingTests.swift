import Configs
import Corpus
import Foundation
import Testing

/// Documents as sequences of their own.
@Suite struct PackingTests {
    private func config(_ path: String) -> DataConfig {
        var data = DataConfig(path: path)
        data.packing = .documents
        data.validationFraction = 0.5
        return data
    }

    private func prepared(_ data: DataConfig, in folder: borrowing TemporaryFolder) throws -> PreparedCorpus {
        let directory = "\(folder.path)/data"
        try PreparedCorpus.prepare(data: data, vocabSize: 256, contextLength: 4, directory: directory)
        return try PreparedCorpus.open(data: data, contextLength: 4, seed: 1, directory: directory)
    }

    private struct Row: Equatable {
        var inputs: String
        var targets: [Int32]
        var length: Int32
    }

    private func rows(_ source: BatchSource) throws -> [Row] {
        try (0..<source.sampleCount).map { sample in
            var (inputs, targets) = ([Int32](repeating: -9, count: 4), [Int32](repeating: -9, count: 4))
            var length = [Int32(-9)]
            try source.fill(
                inputs: &inputs, targets: &targets, lengths: &length, firstPosition: sample, sequences: 1)
            return Row(
                inputs: String(decoding: inputs.map { UInt8($0) }, as: UTF8.self), targets: targets,
                length: length[0])
        }
    }

    private let expected = [
        Row(inputs: "ab\n\n", targets: [98, 10, -1, -1], length: 2),
        // Longer than the context: two parts, of which the first predicts the beginning of the second.
        Row(inputs: "cdef", targets: [100, 101, 102, 103], length: 4),
        Row(inputs: "g\n\n\n", targets: [10, -1, -1, -1], length: 1),
        Row(inputs: "hijk", targets: [105, 106, 107, 10], length: 4),
    ]

    @Test func linesOfATextArePadded() throws {
        let folder = try TemporaryFolder()
        let path = try folder.write("xxxxxxx\nxxxx\n\nab\n\ncdefg\r\nhijk".utf8, to: "a.txt")
        let corpus = try prepared(config(path), in: folder)
        #expect(try rows(corpus.validation) == expected)
        // A whole context of a batch each.
        #expect(corpus.validation.tokenCount == 16 && corpus.train.sampleCount == 3)
        // Of b, end, d, e, f, g, end, i, j, k, end.
        let entropy = -(3.0 / 11) * log(3.0 / 11) - 8 * (1.0 / 11) * log(1.0 / 11)
        #expect(try abs(corpus.validation.targetEntropy(vocabSize: 256) - entropy) < 1e-12)
    }

    @Test func documentsOfJSONLinesArePadded() throws {
        let folder = try TemporaryFolder()
        let documents = ["xx", "x", "xxxxxxxxxxxxxxxxxxxxxxxx", "", "ab", "cdefg", "hijk"]
        let lines = try documents.map { text in
            String(decoding: try JSONEncoder().encode(["text": text]), as: UTF8.self) + "\n"
        }
        let corpus = try prepared(config(folder.write(lines.joined().utf8, to: "a.jsonl")), in: folder)
        #expect(try rows(corpus.validation) == expected)
    }

    @Test func aSplitWithoutDocumentsIsRefused() throws {
        let folder = try TemporaryFolder()
        let data = config(try folder.write("abc\n\n\n\n\n\n".utf8, to: "a.txt"))
        let error = try #require(throws: LockstepError.self) { _ = try prepared(data, in: folder) }
        #expect(error.status == .badConfiguration && error.description.contains("has no documents"))
    }

    @Test func aDamagedIndexIsRefused() throws {
        let folder = try TemporaryFolder()
        let data = config(try folder.write("abcd\nab\nabcdefg\nhi\n".utf8, to: "a.txt"))
        _ = try prepared(data, in: folder)
        let path = "\(folder.path)/data/validation.documents"
        let sound = [UInt8](try Data(contentsOf: URL(filePath: path)))
        for bytes in [Array(sound.dropLast()), Array(sound.prefix(8)), [0] + sound.dropFirst()]
            + sound.indices.dropFirst(8).map({ place in
                var bytes = sound
                bytes[place] ^= 0x80
                return bytes
            })
        {
            try Data(bytes).write(to: URL(filePath: path))
            let error = #expect(throws: LockstepError.self) {
                _ = try PreparedCorpus.open(
                    data: data, contextLength: 4, seed: 1, directory: "\(folder.path)/data")
            }
            #expect(error?.status == .badData)
        }
    }
}
