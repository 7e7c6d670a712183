import Kernels
import Testing

@Suite struct RandomTests {
    /// Known answers of the authors' Random123 library, `kat_vectors`, threefry2x32 with 20 rounds.
    @Test(
        arguments: [
            (counter: [0, 0], key: [0, 0], words: [0x6b20_0159, 0x99ba_4efe]),
            (
                counter: [0xffff_ffff, 0xffff_ffff], key: [0xffff_ffff, 0xffff_ffff],
                words: [0x1cb9_96fc, 0xbb00_2be7]
            ),
            (
                counter: [0x243f_6a88, 0x85a3_08d3], key: [0x1319_8a2e, 0x0370_7344],
                words: [0xc492_3a9c, 0x483d_f7a0]
            ),
        ] as [(counter: [UInt32], key: [UInt32], words: [UInt32])])
    func `known answers`(answer: (counter: [UInt32], key: [UInt32], words: [UInt32])) {
        let generator = Threefry(key: (answer.key[0], answer.key[1]))
        let words = generator.block(counter: (answer.counter[0], answer.counter[1]))
        #expect([words.0, words.1] == answer.words)
    }

    @Test(arguments: [1, 15, 16, 17, 31, 32, 33, 1000])
    func `normal numbers equal their oracle, whatever the count`(count: Int) {
        let x = makeVector(count + 1)
        let after = x[count]
        RandomNormal.fill(x.slice(0..<count), standardDeviation: 0.5, seed: 0x1_2345_6789, stream: 7)
        let expected = (0..<count).map {
            0.5 * Reference.normal(element: UInt64($0), seed: 0x1_2345_6789, stream: 7)
        }
        #expect(relativeError(x.slice(0..<count), expected) < 5e-7)
        #expect(x[count] == after)
    }

    @Test func `normal numbers have the moments of their distribution`() {
        let count = 1 << 20
        let x = makeVector(count)
        RandomNormal.fill(x, standardDeviation: 2, seed: 3, stream: 0)
        let values = doubles(x).map { $0 / 2 }
        func moment(_ power: Int) -> Double {
            values.reduce(0) { sum, value in
                sum + (0..<power).reduce(1) { product, _ in product * value }
            } / Double(count)
        }
        // Six standard deviations of each estimate.
        let deviation = 6 / Double(count).squareRoot()
        #expect(moment(1).magnitude < deviation)
        #expect((moment(2) - 1).magnitude < 2.0.squareRoot() * deviation)
        #expect(moment(3).magnitude < 15.0.squareRoot() * deviation)
        #expect((moment(4) - 3).magnitude < 96.0.squareRoot() * deviation)
        let neighbours = zip(values, values.dropFirst()).reduce(0) { $0 + $1.0 * $1.1 } / Double(count)
        let partners = zip(values, values.dropFirst(16)).reduce(0) { $0 + $1.0 * $1.1 } / Double(count)
        #expect(neighbours.magnitude < deviation && partners.magnitude < deviation)
        #expect(values.map(\.magnitude).max()! < 5.7)
        let beyondTwo = Double(values.count { $0.magnitude > 2 }) / Double(count)
        #expect((beyondTwo - 0.0455).magnitude < 0.0013)
    }

    @Test func `seeds and streams differ`() {
        func fill(seed: UInt64, stream: Int) -> [Double] {
            let x = makeVector(32)
            RandomNormal.fill(x, standardDeviation: 1, seed: seed, stream: stream)
            return doubles(x)
        }
        let all = [(1, 0), (2, 0), (1, 1), (1 + 1 << 32, 0)].map { fill(seed: $0.0, stream: $0.1) }
        #expect(Set(all).count == all.count)
        #expect(fill(seed: 1, stream: 0) == all[0])
    }
}
