import Configs
import MessagePassing

/// Compares what must be the same on every rank before the first step.
package struct RankComparison {
    private struct Item {
        let what: String
        let value: String
        let print: Int64
    }

    /// Bytes of a value that a message shows.
    private static let shownBytes = 96

    private var items: [Item] = []

    package init() {}

    /// Adds something whose value a user can read, the same number of times on every rank.
    package mutating func add(_ what: String, _ value: String) {
        items.append(Item(what: what, value: value, print: Int64(bitPattern: Fingerprint.of(value))))
    }

    /// Adds something by its fingerprint.
    package mutating func add(_ what: String, fingerprint: UInt64) {
        add(what, "fingerprint \(String(fingerprint, radix: 16))")
    }

    /// Throws `.badConfiguration` through `collectively` when ranks differ, with all in which they do. Collective.
    package func check(_ remedy: String, on world: borrowing Communicator) throws {
        guard world.size > 1 else { return }
        var prints = items.map(\.print) + items.map { ~$0.print }
        try prints.withUnsafeMutableBufferPointer { try world.allreduce(inPlace: $0, .max) }
        var differences: [String] = []
        for (index, item) in items.enumerated() where prints[index] != ~prints[items.count + index] {
            differences.append(try difference(item, on: world))
        }
        guard !differences.isEmpty else { return }
        try world.collectively {
            throw LockstepError(
                .badConfiguration,
                "the ranks are not alike, so that they could not stay in step: \(differences.joined(separator: "; ")). \(remedy)"
            )
        }
    }

    /// Who has what, on every rank. Collective.
    private func difference(_ item: Item, on world: borrowing Communicator) throws -> String {
        let texts = try world.allgather(item.value, bytes: Self.shownBytes)
        let own = [item.print]
        var all = [Int64](repeating: 0, count: world.size)
        try own.withUnsafeBufferPointer { own in
            try all.withUnsafeMutableBufferPointer { try world.allgather(own, into: $0) }
        }
        let groups = RankDifference(all)?.groups ?? []
        let sides = groups.map { "\(texts[$0[0]]) on \(RankDifference.list($0))" }
        return "\(item.what) differs: \(sides.joined(separator: ", "))"
    }
}

extension Communicator {
    /// The text of every rank, on every rank, cut to `bytes` bytes. Collective.
    func allgather(_ text: String, bytes: Int) throws -> [String] {
        let utf8 = Array(text.utf8.prefix(bytes))
        let own = utf8 + Array(repeating: 0, count: bytes - utf8.count)
        var all = [UInt8](repeating: 0, count: bytes * size)
        try own.withUnsafeBufferPointer { own in
            try all.withUnsafeMutableBufferPointer { try allgather(own, into: $0) }
        }
        return stride(from: 0, to: all.count, by: bytes).map { first in
            String(decoding: all[first..<first + bytes].prefix { $0 != 0 }, as: UTF8.self)
        }
    }
}
