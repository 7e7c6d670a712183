import Configs
import Foundation
import Interchange

/// A view of one rank's optimizer state: `slots` numbers for each parameter of some ranges of the flat arena.
package struct OptimizerState {
    /// `[slots, stride]`
    let base: UnsafeMutablePointer<Float>
    let slots: Int
    let stride: Int
    /// Parameters, and where their numbers begin in each slot; by ascending range within the two kinds of shard.
    let ranges: [(range: Range<Int>, offset: Int)]

    package init(
        base: UnsafeMutablePointer<Float>, slots: Int, stride: Int, ranges: [(range: Range<Int>, offset: Int)]
    ) {
        self.base = base
        self.slots = slots
        self.stride = stride
        self.ranges = ranges
    }

    /// The numbers of `slot` for the parameters of `range`, which is part of one of `ranges`.
    func numbers(_ slot: Int, _ range: Range<Int>) -> UnsafeMutableBufferPointer<Float> {
        guard
            let place = ranges.first(where: {
                $0.range.lowerBound <= range.lowerBound && range.upperBound <= $0.range.upperBound
            })
        else { preconditionFailure("this rank has no state of the parameters \(range)") }
        let first = slot * stride + place.offset + range.lowerBound - place.range.lowerBound
        return UnsafeMutableBufferPointer(start: base + first, count: range.count)
    }

    package static func fileName(rank: Int, ranks: Int) -> String {
        "optimizer-\(rank)-of-\(ranks).safetensors"
    }

    /// A tensor's name says which numbers of which parameters it holds.
    static func tensorName(_ name: String, _ range: Range<Int>) -> String {
        "\(name)[\(range.lowerBound):\(range.upperBound)]"
    }

    /// Reads the state of this rank from the files of the checkpoint in `folder`, whatever the number of ranks that wrote
    /// them. Throws `.badData` that names file and tensor when they do not hold the state `names` of each of `parameters`
    /// parameters once.
    package func load(from folder: String, names: [String], parameters: Int, ranks: Int) throws {
        guard slots > 0 else { return }
        var held = [[Range<Int>]](repeating: [], count: names.count)
        let mostTensors = slots * (parameters / (1 << 17) + 2)
        for writer in 0..<ranks {
            let file = try TensorFileReader(
                "\(folder)/\(Self.fileName(rank: writer, ranks: ranks))", mostTensors: mostTensors)
            for (name, tensor) in file.tensors {
                let (slot, range) = try Self.content(of: name, tensor.shape, names, parameters, in: file.path)
                held[slot].append(range)
                for place in ranges {
                    let common = range.clamped(to: place.range)
                    guard !common.isEmpty else { continue }
                    let first = tensor.bytes.lowerBound + 4 * (common.lowerBound - range.lowerBound)
                    try file.read(
                        first..<first + 4 * common.count,
                        into: UnsafeMutableRawPointer(numbers(slot, common).baseAddress!))
                }
            }
        }
        for (name, ranges) in zip(names, held) {
            var end = 0
            for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) where !range.isEmpty {
                guard range.lowerBound == end else { break }
                end = range.upperBound
            }
            guard end == parameters, ranges.reduce(0, { $0 + $1.count }) == parameters else {
                throw LockstepError(
                    .badData,
                    "\(folder): the optimizer files hold \(excerpt(name)) of the parameters 0 to \(end), expected each of "
                        + "\(parameters) once; the checkpoint cannot be continued, name an earlier one")
            }
        }
    }

    /// What the tensor `name` holds.
    private static func content(
        of name: String, _ shape: [Int], _ names: [String], _ parameters: Int, in path: String
    ) throws -> (slot: Int, range: Range<Int>) {
        for (slot, prefix) in names.enumerated() where name.hasPrefix(prefix + "[") && name.hasSuffix("]") {
            let bounds = name.dropFirst(prefix.count + 1).dropLast().split(separator: ":").map { Int($0) }
            guard bounds.count == 2, let lower = bounds[0], let upper = bounds[1], lower >= 0, lower <= upper,
                upper <= parameters, shape == [upper - lower]
            else { break }
            return (slot, lower..<upper)
        }
        throw LockstepError(
            .badData,
            "\(path): tensor \(excerpt(name)) of shape \(excerpt("\(shape)")) is none of the state "
                + "(\(excerpt(names.joined(separator: ", ")))) of "
                + "\(parameters) parameters; expected a name such as \(excerpt(tensorName(names[0], 0..<parameters))) "
                + "with the shape of its range")
    }
}
