import Configs
import Corpus
import Foundation
import Testing

@Suite struct PairTests {
    private func config(_ path: String, task: DataConfig.Task = .pairs, validation: Double = 0.5)
        -> DataConfig
    {
        var data = DataConfig(path: path)
        data.task = task
        data.validationFraction = validation
        return data
    }

    private func prepared(
        _ data: DataConfig, contextLength: Int, sourceLength: Int = 0, in folder: borrowing TemporaryFolder
    ) throws -> PreparedCorpus {
        let directory = "\(folder.path)/data"
        try PreparedCorpus.prepare(
            data: data, vocabSize: 256, contextLength: contextLength, sourceLength: sourceLength,
            directory: directory)
        return try PreparedCorpus.open(
            data: data, contextLength: contextLength, sourceLength: sourceLength, seed: 1,
            directory: directory)
    }

    private func failure(
        _ data: DataConfig, contextLength: Int = 8, sourceLength: Int = 0
    ) throws -> LockstepError {
        let folder = try TemporaryFolder()
        return try #require(throws: LockstepError.self) {
            _ = try prepared(data, contextLength: contextLength, sourceLength: sourceLength, in: folder)
        }
    }

    /// The rows of all samples in order.
    private func rows(_ source: BatchSource) throws -> [(inputs: [Int32], targets: [Int32])] {
        try (0..<source.sampleCount).map { sample in
            var inputs = [Int32](repeating: -9, count: source.contextLength)
            var targets = inputs
            try source.fill(inputs: &inputs, targets: &targets, firstPosition: sample, sequences: 1)
            return (inputs, targets)
        }
    }

    @Test func aDecoderHasItsLossOnTargetsOnly() throws {
        let folder = try TemporaryFolder()
        // The second line is the validation split.
        let path = try folder.write("xy\tz\nab\tcd\n".utf8, to: "a.tsv")
        let rows = try self.rows(prepared(config(path), contextLength: 7, in: folder).validation)
        #expect(rows.count == 1)
        #expect(rows[0].inputs == [97, 98, 9, 99, 100, 10, 10])
        #expect(rows[0].targets == [-1, -1, 99, 100, 10, -1, -1])
    }

    @Test func linesOfJSONAreTheSamePairs() throws {
        let folder = try TemporaryFolder()
        let text =
            #"{"source": "xy", "target": "z"}"# + "\r\n" + #"{"target": "c\u0064", "source": "ab", "id": 7}"#
        let path = try folder.write(text.utf8, to: "a.jsonl")
        let rows = try self.rows(
            try prepared(config(path, validation: 0.7), contextLength: 5, in: folder).validation)
        #expect(rows.map { $0.inputs } == [[97, 98, 9, 99, 100]])
        #expect(rows.map { $0.targets } == [[-1, -1, 99, 100, 10]])
    }

    @Test func anEncoderAndDecoderTakeTheSamePairs() throws {
        let folder = try TemporaryFolder()
        let path = try folder.write("x\ty\nab\tcde\nf\tg\n".utf8, to: "a.tsv")
        let source = try prepared(config(path, validation: 0.75), contextLength: 6, in: folder).validation
        #expect(source.sampleCount == 2)
        var (sources, lengths) = ([Int32](repeating: -9, count: 8), [Int32](repeating: -9, count: 2))
        var (inputs, targets) = ([Int32](repeating: -9, count: 10), [Int32](repeating: -9, count: 10))
        try sources.withUnsafeMutableBufferPointer { sources in
            try lengths.withUnsafeMutableBufferPointer { lengths in
                try inputs.withUnsafeMutableBufferPointer { inputs in
                    try targets.withUnsafeMutableBufferPointer { targets in
                        let batch = PairBatch(
                            sources: sources.baseAddress!, sourceLengths: lengths.baseAddress!,
                            decoderInputs: inputs.baseAddress!, targets: targets.baseAddress!,
                            sourceLength: 4,
                            targetLength: 5)
                        try source.fill(batch, firstPosition: 0, sequences: 2)
                    }
                }
            }
        }
        #expect(sources == [97, 98, 10, 10, 102, 10, 10, 10])
        #expect(lengths == [3, 2])
        #expect(inputs == [10, 99, 100, 101, 10, 10, 103, 10, 10, 10])
        #expect(targets == [99, 100, 101, 10, -1, 103, 10, -1, -1, -1])
    }

    /// Of b, c, end and c, end: two of the five are c, two are the end.
    @Test func entropyIsThatOfTargetsAlone() throws {
        let folder = try TemporaryFolder()
        let path = try folder.write("x\tz\naaaa\tbc\naa\tc\n".utf8, to: "a.tsv")
        let corpus = try prepared(config(path, validation: 0.75), contextLength: 7, in: folder)
        let expected = -0.2 * log(0.2) - 2 * 0.4 * log(0.4)
        #expect(try abs(corpus.validation.targetEntropy(vocabSize: 256) - expected) < 1e-12)
    }

    /// The source and the target of an encoder–decoder have each their own room, with an end.
    @Test func sourceAndTargetHaveRoomOfTheirOwn() throws {
        let folder = try TemporaryFolder()
        var data = config(try folder.write("xy\tz\nabc\tde\n".utf8, to: "a.tsv"), validation: 0.7)
        let fits = try prepared(data, contextLength: 3, sourceLength: 4, in: folder)
        #expect(fits.train.sampleCount == 1 && fits.validation.sampleCount == 1)
        for (context, source, expected) in [
            (3, 3, "a source length of 4 with the end, but model.source_length is 3"),
            (2, 4, "a context of 3, but model.context_length is 2"),
        ] {
            let error = try failure(data, contextLength: context, sourceLength: source)
            #expect(error.description.contains(expected), "\(error.description)")
            #expect(error.description.contains("line 2"))
        }
        data.truncate = true
        let cut = try prepared(data, contextLength: 2, sourceLength: 3, in: folder).validation
        var (inputs, targets) = ([Int32](repeating: -9, count: 2), [Int32](repeating: -9, count: 2))
        var (sources, lengths) = ([Int32](repeating: -9, count: 3), [Int32](repeating: -9, count: 1))
        try sources.withUnsafeMutableBufferPointer { sources in
            try lengths.withUnsafeMutableBufferPointer { lengths in
                try inputs.withUnsafeMutableBufferPointer { inputs in
                    try targets.withUnsafeMutableBufferPointer { targets in
                        try cut.fill(
                            PairBatch(
                                sources: sources.baseAddress!, sourceLengths: lengths.baseAddress!,
                                decoderInputs: inputs.baseAddress!, targets: targets.baseAddress!,
                                sourceLength: 3, targetLength: 2), firstPosition: 0, sequences: 1)
                    }
                }
            }
        }
        #expect(sources == [97, 98, 10] && lengths == [3] && inputs == [10, 100] && targets == [100, 10])
        var sums = config("", task: .addition)
        sums.generated.digits = 3
        let error = try failure(sums, contextLength: 5, sourceLength: 7)
        #expect(error.description.contains("model.source_length is 7"), "\(error.description)")
    }

    @Test func badLinesAreNamed() throws {
        let folder = try TemporaryFolder()
        let cases: [(name: String, text: String, expected: [String])] = [
            ("a.tsv", "a\tb\n\nc\n", ["line 3", "tab"]), ("b.tsv", "a\tb\tc\na\tb\n", ["line 1", "3 parts"]),
            (
                "c.jsonl", "{\"source\": \"a\", \"target\": \"b\"}\n{\"source\": \"a\"}\n",
                ["line 2", "target"]
            ),
            ("d.jsonl", "{\"source\": \"a\", \"target\": \"b\"}\n{\"source\n", ["line 2"]),
            (
                "e.tsv", "a\tb\nabcd\tefgh\n",
                ["line 2", "context of 9", "model.context_length is 8", "data.truncate"]
            ),
        ]
        for (name, text, expected) in cases {
            let error = try failure(config(folder.write(text.utf8, to: name)))
            #expect(error.status == .badData)
            for part in [name] + expected {
                #expect(error.description.contains(part), "\(name): \(error.description)")
            }
        }
        let single = try failure(config(folder.write("a\tb\n".utf8, to: "single.tsv")))
        #expect(single.status == .badConfiguration && single.description.contains("validation_fraction"))
        #expect(try failure(config(folder.write([], to: "empty.tsv"))).status == .badData)
    }

    @Test func longPairsAreCutWhenAsked() throws {
        let folder = try TemporaryFolder()
        var data = config(
            try folder.write("a\tb\nabcdef\tgh\nab\tcdefghijk\n".utf8, to: "a.tsv"), validation: 0.9)
        data.truncate = true
        let rows = try self.rows(prepared(data, contextLength: 6, in: folder).validation)
        #expect(
            rows.map(\.inputs)
                == [Array("abc\tgh"), Array("\tcdefg")].map { $0.map { Int32($0.asciiValue!) } })
        #expect(rows.map { $0.targets.last } == [10, 10])
    }

    @Test(arguments: [DataConfig.Task.copy, .reverse, .sort, .addition])
    func generatedPairsAreRightAndHeldOut(task: DataConfig.Task) throws {
        let folder = try TemporaryFolder()
        var data = config("", task: task, validation: 0.1)
        data.generated.samples = 1000
        data.generated.maxLength = 9
        data.generated.symbols = 5
        let corpus = try prepared(data, contextLength: 24, in: folder)
        #expect(corpus.train.sampleCount == 900 && corpus.validation.sampleCount == 100)
        func pairs(_ source: BatchSource) throws -> [(source: String, target: String)] {
            try rows(source).map { row in
                let text = String(decoding: row.inputs.map { UInt8($0) }, as: UTF8.self)
                let parts = text.prefix { $0 != "\n" }.split(separator: "\t")
                return (String(parts[0]), String(parts[1]))
            }
        }
        let (train, validation) = (try pairs(corpus.train), try pairs(corpus.validation))
        for (source, target) in train + validation {
            let expected =
                switch task {
                case .reverse: String(source.reversed())
                case .sort: String(source.sorted())
                case .addition: String(source.split(separator: "+").reduce(0) { $0 + Int($1)! })
                default: source
                }
            #expect(target == expected)
        }
        #expect(Set(train.map(\.source)).isDisjoint(with: validation.map(\.source)))
        #expect(Set(train.map(\.source)).count > 300)
    }

    @Test func generatedPairsMustFitAndDiffer() throws {
        var data = config("", task: .copy)
        #expect(try failure(data, contextLength: 32).description.contains("context of 33"))
        data.generated.samples = 100
        data.generated.maxLength = 1
        data.generated.symbols = 1
        #expect(try failure(data, contextLength: 32).description.contains("too few different sources"))
    }

    @Test func damagedIndexIsRefused() throws {
        let folder = try TemporaryFolder()
        let data = config(
            try folder.write("a\tb\nab\tcd\n".utf8, to: "a.tsv"), validation: 0.7)
        _ = try prepared(data, contextLength: 7, in: folder)
        let path = "\(folder.path)/data/validation.pairs"
        let sound = [UInt8](try Data(contentsOf: URL(filePath: path)))
        for place in 0..<sound.count {
            var bytes = sound
            bytes[place] ^= 0x81
            try Data(bytes).write(to: URL(filePath: path))
            let error = #expect(throws: LockstepError.self, "byte \(place)") {
                _ = try PreparedCorpus.open(
                    data: data, contextLength: 7, seed: 1, directory: "\(folder.path)/data")
            }
            #expect(error?.status == .badData)
        }
    }
}
