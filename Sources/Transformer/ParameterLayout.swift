/// Where a tensor lies in an arena, as a row-major matrix; a vector has one row.
public struct Slot: Sendable, Equatable {
    /// Elements before the tensor.
    public let offset: Int
    public let rows: Int
    public let columns: Int
    public var count: Int { rows * columns }
}

/// One row of the parameter table.
public struct ParameterTensor: Sendable, Equatable {
    /// How the tensor starts out.
    public enum Initialization: Sendable, Equatable {
        case zeros, ones
        case normal(standardDeviation: Float)
    }

    /// What it is to the optimizer, which may treat kinds differently.
    public enum Kind: Sendable, CaseIterable {
        /// The weight of a linear map.
        case matrix
        /// A table of which tokens look up rows, even if the head is tied to it.
        case embedding
        /// The bias of a linear map.
        case bias
        /// The weight or bias of a norm.
        case norm
    }

    public let name: String
    /// `[out, in]` of a linear map, `[rows, columns]` of an embedding, `[length]` of a bias or norm.
    public let shape: [Int]
    public let slot: Slot
    public let initialization: Initialization
    public let kind: Kind
    /// Elements of the arenas that the tensor takes.
    public var range: Range<Int> { slot.offset..<slot.offset + slot.count }
}

/// The table of a model's parameters in forward order, without gaps: parameters, gradients and optimizer state are
/// arenas of this one layout.
public struct ParameterLayout: Sendable, Equatable {
    public private(set) var tensors: [ParameterTensor] = []
    /// Number of parameters.
    public private(set) var count = 0

    public init() {}

    /// Adds a tensor behind those already there.
    public mutating func add(
        _ name: String, _ kind: ParameterTensor.Kind, shape: [Int],
        initialization: ParameterTensor.Initialization
    ) -> Slot {
        precondition(shape.count == 1 || shape.count == 2, "\(name): parameters are vectors or matrices")
        let slot = Slot(offset: count, rows: shape.count == 1 ? 1 : shape[0], columns: shape[shape.count - 1])
        tensors.append(
            ParameterTensor(
                name: name, shape: shape, slot: slot, initialization: initialization, kind: kind))
        count += slot.count
        return slot
    }

    /// What of the arenas lies outside of `ranges`, which are apart from each other; in ascending order.
    func gaps(between ranges: [Range<Int>]) -> [Range<Int>] {
        var gaps: [Range<Int>] = []
        var end = 0
        for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) {
            precondition(range.lowerBound >= end, "\(range) begins before \(end)")
            if range.lowerBound > end { gaps.append(end..<range.lowerBound) }
            end = range.upperBound
        }
        if end < count { gaps.append(end..<count) }
        return gaps
    }

    /// The tensor called `name`, or nil.
    public subscript(name: String) -> ParameterTensor? { tensors.first { $0.name == name } }
}
