import Configs
import Kernels

/// Where a tensor is that is kept from forward to backward: in fp32 among the activations, or in 16 bits among the halves.
struct KeptSlot {
    let slot: Slot
}

/// Where in the workspace a tensor is, in fp32 or in 16 bits.
struct ScratchSlot {
    /// Of 16 bits two share an element, row by row.
    private let slot: Slot
    private let columns: Int
    private let format: HalfFormat?
    var rows: Int { slot.rows }

    init(_ name: String, rows: Int, columns: Int, _ format: HalfFormat?, in workspace: inout ArenaPlan) {
        self.columns = columns
        self.format = format
        slot = workspace.reserve(name, rows: rows, columns: format == nil ? columns : (columns + 1) / 2)
    }

    /// Its first `rows` rows.
    func matrix(_ pass: Pass, rows: Int) -> StoredMatrix {
        let all = pass.scratch(slot)
        guard let format else { return .full(all.rows(0..<rows)) }
        let base = UnsafeMutableRawPointer(all.base).assumingMemoryBound(to: UInt16.self)
        return .half(
            MatrixView(base: base, rows: rows, columns: columns, stride: 2 * slot.columns), format)
    }
}

/// Workspace for rows of two tensors in fp32, where they are kept in 16 bits: a block of rows at a time.
struct KeptBlocks {
    enum Memory { case first, second }

    let rows: Int
    let first: Slot
    let second: Slot

    init(_ model: ModelConfig, sequences: Int, workspace: inout ArenaPlan) {
        rows = min(
            ModelConfig.keptBlockRows, sequences * max(model.contextLength, model.sourceLength))
        let widest = max(
            model.dModel + 2 * model.keyWidth, (model.gated ? 2 : 1) * model.dFF)
        first = workspace.reserve("block.first", rows: rows, columns: widest)
        second = workspace.reserve("block.second", rows: rows, columns: widest)
    }
}

/// Ranges of rows that are one behind the other, of some size but for the last.
struct RowBlocks: Sequence, IteratorProtocol {
    private var first = 0
    private let end: Int
    private let size: Int

    init(_ rows: Int, size: Int) {
        end = rows
        self.size = size
    }

    mutating func next() -> Range<Int>? {
        guard first < end else { return nil }
        defer { first = Swift.min(first + size, end) }
        return first..<Swift.min(first + size, end)
    }
}

extension Pass {
    /// A kept tensor, of which this micro-batch uses the first `rows`.
    func kept(_ slot: KeptSlot, rows: Int) -> StoredMatrix {
        guard let format else { return .full(activation(slot.slot).rows(0..<rows)) }
        let (first, slot) = (slot.slot.offset, slot.slot)
        let matrix = halves.slice(first..<first + slot.count)
            .matrix(rows: slot.rows, columns: slot.columns)
        return .half(matrix.rows(0..<rows), format)
    }

    /// A kept tensor `[t, columns]`.
    func kept(_ slot: KeptSlot) -> StoredMatrix { kept(slot, rows: tokens) }

    /// The same of a tensor that has a row for each token of the sources.
    func keptOfSource(_ slot: KeptSlot) -> StoredMatrix { kept(slot, rows: source.tokens) }

    /// The rows that one call of a kernel takes of a tensor of `count` rows: all, where none are kept in 16 bits.
    func blocks(of count: Int) -> RowBlocks { RowBlocks(count, size: blockRows(of: count)) }
    func blockRows(of count: Int) -> Int { blocks?.rows ?? Swift.max(1, count) }

    /// A block of kept rows in fp32, until the next is read into the same memory.
    func read(_ x: StoredMatrix, into memory: KeptBlocks.Memory = .first) -> Matrix {
        x.read(block(memory), on: team)
    }

    /// Keeps the block of rows `y` as `body` writes it, in the second memory.
    func write(_ y: StoredMatrix, _ body: (Matrix) -> Void) {
        let block = y.destination(block(.second))
        body(block)
        y.keep(block, on: team)
    }

    /// Whether products of `rows` rows with `weight`, which sum over `depth`, take operands as they are kept and write `y` as it
    /// is.
    func multiplies(_ weight: WeightSlot, rows: Int, into y: StoredMatrix, depth: Int) -> Bool {
        guard let format else { return true }
        return matmul.takes(format, rows: rows, weight: self.weight(weight))
            && (y.isFull || matmul.gives(format, depth: depth))
    }

    /// `x` as products with `weight` take it: as it is kept where they can, otherwise in fp32, in `block`.
    func operand(
        _ x: StoredMatrix, for weight: WeightSlot, block: @autoclosure () -> Vector
    ) -> StoredMatrix {
        guard case .half(_, let format) = x,
            !matmul.takes(format, rows: x.rows, weight: self.weight(weight))
        else { return x }
        return .full(x.read(block(), on: team))
    }

    func block(_ memory: KeptBlocks.Memory) -> Vector {
        guard let blocks else { preconditionFailure("nothing is kept in 16 bits") }
        return scratch(memory == .first ? blocks.first : blocks.second).vector
    }
}
