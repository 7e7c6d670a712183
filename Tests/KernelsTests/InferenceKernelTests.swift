import Foundation
import Kernels
import TestSupport
import Testing

/// Products of few rows, and attention to a cache.
@Suite struct InferenceKernelTests {
    private func numbers(_ count: Int, seed: UInt64) throws -> AlignedBuffer<Float> {
        let buffer = try AlignedBuffer<Float>(count: count)
        RandomNormal.fill(buffer.vector, standardDeviation: 1, seed: seed, stream: 0)
        return buffer
    }

    @Test(arguments: [(1, 1, 1), (1, 37, 19), (3, 64, 48), (5, 33, 100), (16, 130, 77)], [1, 2])
    func fewRowsAreMultiplied(_ shape: (m: Int, n: Int, k: Int), threads: Int) throws {
        let (m, n, k) = shape
        let x = try numbers(m * k, seed: 1)
        let w = try numbers(n * k, seed: 2)
        let bias = try numbers(n, seed: 3)
        let y = try numbers(m * n, seed: 4)
        let team = try ThreadTeam(threads: threads)
        FewRows.forward(
            x.vector.matrix(rows: m, columns: k), weight: w.vector.matrix(rows: n, columns: k),
            bias: bias.vector, into: y.vector.matrix(rows: m, columns: n), on: team)
        for row in 0..<m {
            for column in 0..<n {
                let exact = (0..<k).reduce(Double(bias.base[column])) {
                    $0 + Double(x.base[row * k + $1]) * Double(w.base[column * k + $1])
                }
                #expect(abs(Double(y.base[row * n + column]) - exact) < 2e-5)
            }
        }
    }

    /// Rounded to bf16, weights are what they are rounded to.
    @Test func weightsOfHalfTheBytesAreMultiplied() throws {
        let (m, n, k) = (5, 21, 35)
        let x = try numbers(m * k, seed: 1)
        let w = try numbers(n * k, seed: 2)
        let halves = try AlignedBuffer<BFloat16>(count: n * k)
        for index in 0..<n * k {
            halves.base[index] = BFloat16(w.base[index])
            let rounded = Float(bitPattern: UInt32(halves.base[index].bits) << 16)
            #expect(abs(rounded - w.base[index]) <= 0x1p-8 * abs(w.base[index]))
            w.base[index] = rounded
        }
        let y = try numbers(m * n, seed: 3)
        let z = try numbers(m * n, seed: 4)
        let rows = x.vector.matrix(rows: m, columns: k)
        FewRows.forward(
            rows, weight: halves.vector.matrix(rows: n, columns: k),
            into: y.vector.matrix(rows: m, columns: n))
        FewRows.forward(
            rows, weight: w.vector.matrix(rows: n, columns: k), into: z.vector.matrix(rows: m, columns: n))
        for index in 0..<m * n { #expect(y.base[index] == z.base[index]) }
        #expect(BFloat16(.nan).bits & 0x7F80 == 0x7F80 && BFloat16(.nan).bits & 0x7F != 0)
        #expect(BFloat16(.infinity).bits == 0x7F80 && BFloat16(1.00390625).bits == 0x3F80)
    }

    /// In 8 bits a number is off by half a multiple of its row's scale at most, and products are of what is left.
    @Test(arguments: [(1, 1, 1), (5, 21, 35), (6, 33, 96)])
    func weightsInEightBitsAreMultiplied(_ shape: (m: Int, n: Int, k: Int)) throws {
        let (m, n, k) = shape
        let x = try numbers(m * k, seed: 1)
        let w = try numbers(n * k, seed: 2)
        let bias = try numbers(n, seed: 3)
        let numbersOfWeight = try AlignedBuffer<Int8>(count: n * k)
        let scales = try AlignedBuffer<Float>(count: n)
        let quantized = QuantizedMatrix(
            numbers: numbersOfWeight.vector.matrix(rows: n, columns: k), scales: scales.vector)
        quantized.round(w.vector.matrix(rows: n, columns: k), on: .alone)
        for row in 0..<n {
            let source = (0..<k).map { w.base[row * k + $0] }
            let largest = source.map(abs).max()!
            #expect(scales.base[row] == largest / 127)
            #expect((0..<k).contains { abs(Int(numbersOfWeight.base[row * k + $0])) == 127 })
            for column in 0..<k {
                let rounded = Float(numbersOfWeight.base[row * k + column]) * scales.base[row]
                #expect(abs(rounded - source[column]) <= 0.501 * scales.base[row])
            }
        }
        let y = try numbers(m * n, seed: 4)
        FewRows.forward(
            x.vector.matrix(rows: m, columns: k), weight: quantized, bias: bias.vector,
            into: y.vector.matrix(rows: m, columns: n), on: .alone)
        for row in 0..<m {
            for column in 0..<n {
                let exact = (0..<k).reduce(0.0) {
                    $0 + Double(x.base[row * k + $1]) * Double(numbersOfWeight.base[column * k + $1])
                }
                let expected = exact * Double(scales.base[column]) + Double(bias.base[column])
                #expect(abs(Double(y.base[row * n + column]) - expected) < 2e-5)
            }
        }
    }

    @Test func rowsThatEightBitsCannotHold() throws {
        let rows: [[Float]] = [[0, 0], [0x1p-140, -0x1p-145], [.infinity, 1], [.nan, 1], [3e38, -3e38]]
        let w = try AlignedBuffer<Float>(count: 10)
        for (index, value) in rows.joined().enumerated() { w.base[index] = value }
        let numbersOfWeight = try AlignedBuffer<Int8>(count: 10)
        let scales = try AlignedBuffer<Float>(count: 5)
        let quantized = QuantizedMatrix(
            numbers: numbersOfWeight.vector.matrix(rows: 5, columns: 2), scales: scales.vector)
        quantized.round(w.vector.matrix(rows: 5, columns: 2), on: .alone)
        #expect((0..<10).map { numbersOfWeight.base[$0] } == [0, 0, 0, 0, 0, 0, 0, 0, 127, -127])
        #expect(scales.base[2].isNaN && scales.base[3].isNaN && scales.base[0] == 0)
    }

    @Test(arguments: [(1, 1, 3), (8, 5, 9), (20, 100, 120), (64, 129, 150), (80, 64, 64)])
    func aQueryAttendsToTheCache(_ shape: (d: Int, count: Int, capacity: Int)) throws {
        let (d, count, capacity) = shape
        let query = try numbers(d, seed: 1)
        let keys = try numbers(d * capacity, seed: 2)
        let values = try numbers(capacity * d, seed: 3)
        let scores = try numbers(capacity, seed: 4)
        let mixed = try numbers(d, seed: 5)
        CachedAttention.forward(
            query: query.vector, keys: keys.vector.matrix(rows: d, columns: capacity),
            values: values.vector.matrix(rows: capacity, columns: d), count: count, scale: 0.3,
            scores: scores.vector, into: mixed.vector)
        let exact = (0..<count).map { t in
            0.3 * (0..<d).reduce(0.0) { $0 + Double(query.base[$1]) * Double(keys.base[$1 * capacity + t]) }
        }
        let weights = exact.map { exp($0) }
        for column in 0..<d {
            let sum = (0..<count).reduce(0.0) { $0 + weights[$1] * Double(values.base[$1 * d + column]) }
            #expect(abs(Double(mixed.base[column]) - sum / weights.reduce(0, +)) < 1e-5)
        }
    }
}
