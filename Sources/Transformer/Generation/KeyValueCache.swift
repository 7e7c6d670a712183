import Configs
import Kernels

/// Keys and values of all positions that sequences have behind them, or of a source that they look at, `2·L·c·capacity` elements each with c the width of all
/// heads of keys.
struct KeyValueCache: ~Copyable {
    let sequences: Int
    /// Positions of a sequence.
    let capacity: Int
    private let config: ModelConfig
    /// Keys of all layers, then values.
    private let arena: AlignedBuffer<Float>
    /// Positions that each sequence has behind it.
    private(set) var lengths: [Int]
    /// The place of each sequence in the arenas.
    private var places: [Int]

    private var heads: Int { config.numKVHeads }
    private var headWidth: Int { config.dModel / config.numHeads }
    var bytes: Int { arena.bytes }
    private var keyArena: Vector { arena.vector.slice(0..<arena.count / 2) }
    private var valueArena: Vector { arena.vector.slice(arena.count / 2..<arena.count) }

    /// Throws `AllocationError`.
    init(config: ModelConfig, sequences: Int, capacity: Int) throws {
        arena = try AlignedBuffer(
            count: 2 * config.numLayers * sequences * (config.dModel / config.numHeads * config.numKVHeads)
                * capacity)
        self.config = config
        self.sequences = sequences
        self.capacity = capacity
        lengths = Array(repeating: 0, count: sequences)
        places = Array(0..<sequences)
    }

    private func head(_ layer: Int, _ sequence: Int, _ head: Int, of arena: Vector) -> Vector {
        let size = headWidth * capacity
        let first = ((layer * sequences + places[sequence]) * heads + head) * size
        return arena.slice(first..<first + size)
    }

    /// `[d, capacity]`
    func keys(_ layer: Int, _ sequence: Int, _ head: Int) -> Matrix {
        self.head(layer, sequence, head, of: keyArena).matrix(rows: headWidth, columns: capacity)
    }

    /// `[capacity, d]`
    func values(_ layer: Int, _ sequence: Int, _ head: Int) -> Matrix {
        self.head(layer, sequence, head, of: valueArena).matrix(rows: capacity, columns: headWidth)
    }

    /// Puts keys and values `[n, d]` of a head into `layer`, of n positions of `sequence` from `position` on.
    func put(
        _ layer: Int, _ sequence: Int, _ head: Int, position: Int, keys newKeys: Matrix,
        values newValues: Matrix
    ) {
        let (keys, values) = (keys(layer, sequence, head), values(layer, sequence, head))
        for index in 0..<headWidth {
            let (key, source) = (keys.base + (index &* capacity &+ position), newKeys.base + index)
            for row in 0..<newKeys.rows { key[row] = source[row &* newKeys.stride] }
        }
        for row in 0..<newValues.rows {
            (values.base + (position &+ row) &* headWidth)
                .update(from: newValues.base + row &* newValues.stride, count: headWidth)
        }
    }

    /// The sequence has `count` positions more.
    mutating func advance(_ sequence: Int, by count: Int) { lengths[sequence] += count }

    /// The sequence forgets what is behind its first `count` positions.
    mutating func rewind(_ sequence: Int, to count: Int) {
        precondition(count <= lengths[sequence], "\(count) positions of \(lengths[sequence])")
        lengths[sequence] = count
    }

    /// The sequence begins anew.
    mutating func clear(_ sequence: Int) { lengths[sequence] = 0 }

    /// Sequence i goes on from where sequence `parents[i]` stands. Only those that have a parent in common are copied.
    mutating func follow(_ parents: [Int]) {
        precondition(parents.count == sequences, "\(parents.count) parents of \(sequences) sequences")
        var free = Set(places).subtracting(parents.map { places[$0] })
        var isTaken = Set<Int>()
        var newPlaces = places
        for (sequence, parent) in parents.enumerated() {
            if isTaken.insert(parent).inserted {
                newPlaces[sequence] = places[parent]
            } else {
                guard let place = free.popFirst() else { preconditionFailure("a place for every sequence") }
                copy(from: places[parent], to: place)
                newPlaces[sequence] = place
            }
        }
        lengths = parents.map { lengths[$0] }
        places = newPlaces
    }

    private func copy(from source: Int, to target: Int) {
        let size = heads * headWidth * capacity
        for layer in 0..<config.numLayers {
            let (from, to) = ((layer * sequences + source) * size, (layer * sequences + target) * size)
            (keyArena.base + to).update(from: keyArena.base + from, count: size)
            (valueArena.base + to).update(from: valueArena.base + from, count: size)
        }
    }
}
