internal import CMPI

extension Communicator {
    /// Returns on no rank before every rank has called it.
    public func barrier() throws {
        try check(MPI_Barrier(handle), "MPI_Barrier")
    }

    /// Copies the root's `buffer` into every rank's.
    public func broadcast<Element: MessageElement>(
        _ buffer: UnsafeMutableBufferPointer<Element>, from root: Int
    ) throws {
        let elements = Elements(buffer)
        if rank == root { count(elements) }
        try broadcast(elements, from: root)
    }

    /// Reduces every rank's `elements`, index by index, into the root's `result` of the same length. The other ranks
    /// pass nil.
    public func reduce<Element: MessageElement>(
        _ elements: UnsafeBufferPointer<Element>, into result: UnsafeMutableBufferPointer<Element>?,
        _ operation: ReduceOperation = .sum, root: Int
    ) throws {
        let elements = Elements(reading: elements)
        let result = result.map { Elements($0) }
        if rank == root {
            try checkLength(
                result?.count ?? 0, expected: elements.count, of: "the root's result", in: "reduce")
        }
        count(elements)
        for chunk in chunks(elements.count) {
            try check(
                MPI_Reduce(
                    elements.address(chunk.offset), result?.address(chunk.offset), chunk.count,
                    elements.type.datatype, operation.handle, root.mpiRank, handle),
                "MPI_Reduce")
        }
    }

    /// Reduces every rank's `elements`, index by index, into every rank's `result` of the same length.
    public func allreduce<Element: MessageElement>(
        _ elements: UnsafeBufferPointer<Element>, into result: UnsafeMutableBufferPointer<Element>,
        _ operation: ReduceOperation = .sum
    ) throws {
        let elements = Elements(reading: elements)
        let result = Elements(result)
        try checkLength(result.count, expected: elements.count, of: "the result", in: "allreduce")
        count(elements)
        for chunk in chunks(elements.count) {
            try check(
                MPI_Allreduce(
                    elements.address(chunk.offset), result.address(chunk.offset), chunk.count,
                    elements.type.datatype, operation.handle, handle),
                "MPI_Allreduce")
        }
    }

    /// Replaces every rank's `buffer` by the reduction of them all, index by index.
    public func allreduce<Element: MessageElement>(
        inPlace buffer: UnsafeMutableBufferPointer<Element>, _ operation: ReduceOperation = .sum
    ) throws {
        let elements = Elements(buffer)
        count(elements)
        try allreduce(inPlace: elements, operation)
    }

    func broadcast(_ elements: Elements, from root: Int) throws {
        for chunk in chunks(elements.count) {
            try check(
                MPI_Bcast(
                    elements.address(chunk.offset), chunk.count, elements.type.datatype, root.mpiRank, handle),
                "MPI_Bcast")
        }
    }

    func allreduce(inPlace elements: Elements, _ operation: ReduceOperation) throws {
        for chunk in chunks(elements.count) {
            try check(
                MPI_Allreduce(
                    lockstep_mpi_in_place(), elements.address(chunk.offset), chunk.count,
                    elements.type.datatype, operation.handle, handle),
                "MPI_Allreduce")
        }
    }
}
