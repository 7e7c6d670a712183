import Kernels

/// Where a head of a sequence, and a block of its query rows, is in the tensors of all.
extension AttentionHeads {
    struct Head {
        let sequence: Int
        let index: Int
        /// Who works on it.
        let member: Int

        /// Number `number` of all heads of all sequences.
        init(_ layer: AttentionHeads, _ number: Int, member: Int) {
            (sequence, index) = number.quotientAndRemainder(dividingBy: layer.heads)
            self.member = member
        }
    }

    /// The rows of the block that starts at row `first`, and how many keys they are multiplied with.
    func blockRows(_ pass: Pass, from first: Int) -> (rows: Range<Int>, keys: Int) {
        let end = min(first + block, pass.batch.length)
        return (first..<end, keys == .past ? end : keyLength(pass))
    }

    /// Keys of a sequence, padding among them.
    func keyLength(_ pass: Pass) -> Int {
        keys == .source ? pass.source.length : pass.batch.length
    }

    /// Which of these keys the rows look at.
    func visible(_ pass: Pass, _ head: Head) -> VisibleKeys {
        switch keys {
        case .past: .past
        case .sequence: .first(pass.batch.visibleLength(of: head.sequence))
        case .source: .first(pass.source.visibleLength(of: head.sequence))
        }
    }

    /// The part of `head` in what goes into all heads, or in its gradient: `[s, d]` queries, `[n, d]` keys and values.
    func part(of operands: Operands, _ head: Head, _ pass: Pass) -> Operands {
        func part(_ matrix: StoredMatrix) -> StoredMatrix {
            self.part(of: matrix, head.sequence, head.index / group, length: keyLength(pass))
        }
        return Operands(
            queries: queries(of: head, in: operands.queries, pass), keys: part(operands.keys),
            values: part(operands.values))
    }

    /// The part `[s, d]` of `head` in `[t, h]`.
    func queries(of head: Head, in matrix: StoredMatrix, _ pass: Pass) -> StoredMatrix {
        part(of: matrix, head.sequence, head.index, length: pass.batch.length)
    }

    /// The rows of a sequence and the columns of the head that is number `index` in them.
    private func part(
        of matrix: StoredMatrix, _ sequence: Int, _ index: Int, length: Int
    ) -> StoredMatrix {
        matrix.rows(sequence * length..<(sequence + 1) * length)
            .columns(index * width..<(index + 1) * width)
    }

    /// `[rows, keys]`, which are kept or only for now.
    func probabilities(
        _ pass: Pass, _ head: Head, _ rows: Range<Int>, _ keys: Int
    ) -> StoredMatrix {
        guard let storedProbabilities else {
            guard let slot = scratch.probabilities else {
                preconditionFailure("probabilities are stored or recomputed")
            }
            return .full(blockView(pass, slot, head, rows, keys))
        }
        let first = (head.sequence * heads + head.index) * context
        let all = pass.kept(storedProbabilities, rows: storedProbabilities.slot.rows)
        return all.rows(first..<first + context).rows(rows).columns(0..<keys)
    }

    /// For kept probabilities in fp32, of the member that works on `head`.
    func probabilityMemory(_ pass: Pass, _ head: Head) -> Vector {
        guard let slot = scratch.probabilities else { preconditionFailure("probabilities are in fp32") }
        return pass.scratch(slot).rows(head.member * block..<(head.member + 1) * block).vector
    }

    /// `[rows, keys]` of what the member that works on `head` has for itself of `slot`.
    func blockView(
        _ pass: Pass, _ slot: Slot, _ head: Head, _ rows: Range<Int>, _ keys: Int
    ) -> Matrix {
        let first = head.member * block
        return pass.scratch(slot).rows(first..<first + rows.count).columns(0..<keys)
    }

    /// What of a head is in fp32 while it is computed with, where it is kept in 16 bits; of queries and outputs, a block of
    /// rows.
    enum HeadPart: Int {
        case keys, values, dKeys, dValues
        case queries, output, dOutput, dQueries
    }

    /// Memory for it, of the member that works on `head`.
    func memory(_ pass: Pass, _ head: Head, _ part: HeadPart) -> Vector {
        guard let slot = scratch.head else { preconditionFailure("heads are in fp32") }
        let own = pass.scratch(slot).rows(head.member..<head.member + 1).vector
        let number = part.rawValue
        let rows = number < 4 ? number * numKeys : 4 * numKeys + (number - 4) * block
        let count = number < 4 ? numKeys : block
        return own.slice(rows * width..<(rows + count) * width)
    }

    /// Whether all products of a sequence take what is kept in 16 bits as it is.
    private func takesKept(_ pass: Pass) -> Bool {
        guard let format = pass.format else { return false }
        let (length, numKeys) = (pass.batch.length, keyLength(pass))
        let (first, last) = (min(block, length), (length - 1) % block + 1)
        return pass.matmul.takes(format, last, keys == .past ? first : numKeys, width)
    }

    /// Rows of `x` as products take them: as they are kept where they can, otherwise in fp32, in `memory` for that part.
    func operand(_ pass: Pass, _ head: Head, _ x: StoredMatrix, _ part: HeadPart) -> StoredMatrix {
        takesKept(pass) ? x : .full(x.read(memory(pass, head, part)))
    }

    /// All keys of a head, or all values, with memory for them as tiles.
    func weight(_ pass: Pass, _ head: Head, _ x: StoredMatrix, _ part: HeadPart) -> Weight {
        let matrix = operand(pass, head, x, part)
        guard let tiles else { return Weight(matrix) }
        let bytes = PackedWeight.byteCount(n: numKeys, k: width, precision: tiles)
        // Of a member those of keys, then those of values.
        let first = (2 * head.member + (part == .keys ? 0 : 1)) * bytes
        return Weight(
            matrix,
            packed: PackedWeight(
                n: x.rows, k: width, precision: tiles, in: pass.packedHeads.slice(first..<first + bytes)))
    }

    /// Keeps rows `y` as a product writes them that sums over `depth`.
    func write(
        _ pass: Pass, _ head: Head, _ y: StoredMatrix, _ part: HeadPart, depth: Int,
        _ body: (StoredMatrix) -> Void
    ) {
        if let format = pass.format, takesKept(pass), pass.matmul.gives(format, depth: depth) {
            body(y)
        } else {
            let block = y.destination(memory(pass, head, part))
            body(.full(block))
            y.keep(block)
        }
    }

    func logSumExpView(_ pass: Pass, _ head: Head, _ rows: Range<Int>) -> Vector? {
        guard let logSumExp else { return nil }
        let row = head.sequence * heads + head.index
        return pass.activation(logSumExp).rows(row..<row + 1).vector.slice(rows)
    }

    /// The probabilities after dropout: themselves when nothing is dropped.
    func dropping(_ pass: Pass, _ p: Matrix, _ head: Head, _ rows: Range<Int>) -> Matrix {
        guard let dropped = scratch.dropped, dropout.isActive(pass) else { return p }
        let kept = blockView(pass, dropped, head, rows, p.columns)
        drop(pass, p, head, rows, into: kept)
        return kept
    }

    /// Drops elements by their place among all queries and keys of the head, so that blocks do not matter.
    func drop(_ pass: Pass, _ x: Matrix, _ head: Head, _ rows: Range<Int>, into y: Matrix) {
        let number = (pass.batch.firstSequence + head.sequence) * heads + head.index
        let numKeys = keyLength(pass)
        dropout.apply(
            pass, x, firstElement: (number * pass.batch.length + rows.lowerBound) * numKeys,
            rowLength: numKeys, into: y, on: .alone)
    }
}
