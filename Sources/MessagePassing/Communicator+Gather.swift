internal import CMPI

// An MPI count says how many elements one rank contributes, but libraries compute with the total, so it is the total
// that decides here whether a message is too long for one call. Longer ones go rank by rank, in chunks.
extension Communicator {
    /// Concatenates every rank's `elements`, all of the same length n, in rank order into the root's `result` of
    /// size · n. The other ranks pass nil.
    public func gather<Element: MessageElement>(
        _ elements: UnsafeBufferPointer<Element>, into result: UnsafeMutableBufferPointer<Element>?, root: Int
    ) throws {
        let elements = Elements(reading: elements)
        let result = result.map { Elements($0) }
        let total = elements.count * size
        if rank == root {
            try checkLength(result?.count ?? 0, expected: total, of: "the root's result", in: "gather")
        }
        count(elements)
        guard total <= chunkLength else {
            return try gatherInTurn(elements, into: result, root: root) { _ in elements.count }
        }
        let length = Int32(elements.count)
        let datatype = elements.type.datatype
        try check(
            MPI_Gather(
                elements.base, length, datatype, result?.base, length, datatype, root.mpiRank, handle),
            "MPI_Gather")
    }

    /// Concatenates every rank's `elements` in rank order into the root's `result`. `counts`, the same on every rank,
    /// says how many elements each rank has; `result` has as many as all of them. The other ranks pass nil.
    public func gatherv<Element: MessageElement>(
        _ elements: UnsafeBufferPointer<Element>, counts: [Int],
        into result: UnsafeMutableBufferPointer<Element>?, root: Int
    ) throws {
        let elements = Elements(reading: elements)
        let result = result.map { Elements($0) }
        let total = counts.reduce(0, +)
        try checkLength(counts.count, expected: size, of: "the list of counts", in: "gatherv")
        try checkLength(elements.count, expected: counts[rank], of: "rank \(rank)'s buffer", in: "gatherv")
        if rank == root {
            try checkLength(result?.count ?? 0, expected: total, of: "the root's result", in: "gatherv")
        }
        count(elements)
        guard total <= chunkLength else {
            return try gatherInTurn(elements, into: result, root: root) { counts[$0] }
        }
        var offset: Int32 = 0
        let lengths = counts.map { Int32($0) }
        let offsets = lengths.map { length in
            defer { offset += length }
            return offset
        }
        let datatype = elements.type.datatype
        try check(
            MPI_Gatherv(
                elements.base, lengths[rank], datatype, result?.base, lengths, offsets, datatype,
                root.mpiRank,
                handle),
            "MPI_Gatherv")
    }

    /// Concatenates every rank's `elements`, all of the same length n, in rank order into every rank's `result` of
    /// size · n.
    public func allgather<Element: MessageElement>(
        _ elements: UnsafeBufferPointer<Element>, into result: UnsafeMutableBufferPointer<Element>
    ) throws {
        let elements = Elements(reading: elements)
        let result = Elements(result)
        let total = elements.count * size
        try checkLength(result.count, expected: total, of: "the result", in: "allgather")
        count(elements)
        guard total <= chunkLength else {
            result.slice(rank * elements.count, elements.count).copy(from: elements)
            for root in 0..<size {
                try broadcast(result.slice(root * elements.count, elements.count), from: root)
            }
            return
        }
        let length = Int32(elements.count)
        let datatype = elements.type.datatype
        try check(
            MPI_Allgather(elements.base, length, datatype, result.base, length, datatype, handle),
            "MPI_Allgather")
    }

    /// Deals the root's `elements`, size · n of them, in rank order into every rank's `result` of length n. The other
    /// ranks pass nil.
    public func scatter<Element: MessageElement>(
        _ elements: UnsafeBufferPointer<Element>?, into result: UnsafeMutableBufferPointer<Element>, root: Int
    ) throws {
        let elements = elements.map { Elements(reading: $0) }
        let result = Elements(result)
        let total = result.count * size
        if rank == root {
            try checkLength(elements?.count ?? 0, expected: total, of: "the root's buffer", in: "scatter")
        }
        if rank == root, let elements { count(elements) }
        guard total <= chunkLength else {
            return try scatterInTurn(elements, into: result, root: root)
        }
        let length = Int32(result.count)
        let datatype = result.type.datatype
        try check(
            MPI_Scatter(
                elements?.base, length, datatype, result.base, length, datatype, root.mpiRank, handle),
            "MPI_Scatter")
    }

    private func gatherInTurn(
        _ elements: Elements, into result: Elements?, root: Int, countOf: (Int) -> Int
    ) throws {
        guard rank == root, let result else { return try sendInternally(elements, to: root) }
        var offset = 0
        for source in 0..<size {
            let block = result.slice(offset, countOf(source))
            if source == root {
                block.copy(from: elements)
            } else {
                try receiveInternally(into: block, from: source)
            }
            offset += block.count
        }
    }

    private func scatterInTurn(_ elements: Elements?, into result: Elements, root: Int) throws {
        guard rank == root, let elements else { return try receiveInternally(into: result, from: root) }
        for target in 0..<size {
            let block = elements.slice(target * result.count, result.count)
            if target == root {
                result.copy(from: block)
            } else {
                try sendInternally(block, to: target)
            }
        }
    }
}
