import Configs
import Corpus
import Foundation
import Testing

@Suite struct GeneratedTextTests {
    private func prepare(_ data: DataConfig, in folder: String) throws -> PreparedCorpus {
        try PreparedCorpus.prepare(data: data, vocabSize: 256, contextLength: 16, directory: folder)
        return try PreparedCorpus.open(data: data, contextLength: 16, seed: 1, directory: folder)
    }

    private func contents(_ path: String) throws -> String {
        String(decoding: try Data(contentsOf: URL(filePath: path)), as: UTF8.self)
    }

    private func uniform(seed: UInt64) -> DataConfig {
        var data = DataConfig(path: "")
        data.task = .uniform
        (data.generated.symbols, data.generated.characters, data.generated.seed) = (5, 200_000, seed)
        data.validationFraction = 0.25
        return data
    }

    @Test func uniformLettersHaveTheEntropyOfTheirNumber() throws {
        let folder = try TemporaryFolder()
        let corpus = try prepare(uniform(seed: 1), in: "\(folder.path)/a")
        #expect(corpus.train.tokenCount == 150_000 && corpus.validation.tokenCount == 50_000)
        // A sample of n is (V - 1) / 2n below the entropy on average, here 4e-5.
        #expect(try abs(corpus.validation.targetEntropy(vocabSize: 256) - log(5)) < 3e-4)
        #expect(try abs(corpus.train.targetEntropy(vocabSize: 256) - log(5)) < 1e-4)

        let text = try contents("\(folder.path)/a/text.txt")
        #expect(Set(text) == Set("abcde") && text.utf8.count == 200_000)
        // Of pairs, too: no letter tells of the next one.
        var counts: [String: Double] = [:]
        for (first, second) in zip(text, text.dropFirst()) { counts["\(first)\(second)", default: 0] += 1 }
        #expect(counts.count == 25 && counts.values.allSatisfy { abs($0 - 8000) < 450 })

        _ = try prepare(uniform(seed: 1), in: "\(folder.path)/b")
        _ = try prepare(uniform(seed: 2), in: "\(folder.path)/c")
        #expect(try contents("\(folder.path)/b/text.txt") == text)
        #expect(try contents("\(folder.path)/c/text.txt") != text)
    }

    private let lines = (0..<400).map { "line \($0) of the text" }

    private func canaries(_ folder: borrowing TemporaryFolder) throws -> DataConfig {
        var data = DataConfig(path: try folder.write(lines.joined(separator: "\n").utf8, to: "a.txt"))
        data.task = .canaries
        data.validationFraction = 0.3
        (data.generated.canaries, data.generated.canaryLength) = (3, 12)
        data.generated.canaryCopies = [0, 1, 9, 20]
        return data
    }

    @Test func canariesAreInTheTrainingSplitSoManyTimes() throws {
        let folder = try TemporaryFolder()
        let data = try canaries(folder)
        let corpus = try prepare(data, in: "\(folder.path)/a")
        let text = try contents("\(folder.path)/a/text.txt")
        let list = try contents("\(folder.path)/a/canaries.tsv").split(separator: "\n").map {
            $0.split(separator: "\t")
        }
        #expect(
            list.map { String($0[0]) } == ["0", "1", "9", "20"].flatMap { Array(repeating: $0, count: 3) })
        #expect(Set(list.map { $0[1] }).count == 12 && list.allSatisfy { $0[1].utf8.count == 12 })

        let written = text.split(separator: "\n").map(String.init)
        for canary in list {
            #expect(written.count { $0 == canary[1] } == Int(canary[0]))
        }
        let hidden = Set(list.map { String($0[1]) })
        #expect(written.filter { !hidden.contains($0) } == lines, "the text is as it was")
        // Far apart, and none in the validation split.
        let places = written.indices.filter { hidden.contains(written[$0]) }
        #expect(places.count == 90 && (places.last ?? 0) - (places.first ?? 0) > written.count / 2)
        let validation = text.utf8.suffix(corpus.validation.tokenCount)
        #expect(corpus.validation.tokenCount == Int((0.3 * Double(text.utf8.count)).rounded()))
        let held = String(decoding: validation, as: UTF8.self)
        #expect(hidden.allSatisfy { !held.contains($0) })

        _ = try prepare(data, in: "\(folder.path)/b")
        #expect(try contents("\(folder.path)/b/text.txt") == text)
    }

    @Test func canariesMustBeDifferentAndFit() throws {
        let folder = try TemporaryFolder()
        var data = try canaries(folder)
        (data.generated.canaryLength, data.generated.symbols) = (1, 5)
        let few = try #require(throws: LockstepError.self) { try prepare(data, in: "\(folder.path)/a") }
        #expect(few.status == .badConfiguration && few.description.contains("canary_length"))
        data.generated.canaryLength = 1 << 16
        data.generated.canaryCopies = [1 << 16]
        let many = try #require(throws: LockstepError.self) { try prepare(data, in: "\(folder.path)/a") }
        #expect(many.status == .badConfiguration && many.description.contains("canary_copies"))
    }
}
