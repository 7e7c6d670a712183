#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// An allocation that the system refused.
public struct AllocationError: Error, CustomStringConvertible {
    /// What was asked for, in bytes.
    public let bytes: Int
    public var description: String {
        "cannot allocate \(bytes) bytes (\(bytes >> 20) MiB): the system refused; a smaller model, "
            + "micro-batch or number of ranks per node needs less"
    }
}

/// Owning, 64-byte-aligned, zero-initialized storage for `count` elements.
///
/// Views of it (`MatrixView`, `VectorView`) do not keep it alive: whoever holds the buffer outlives the views.
public struct AlignedBuffer<Element: BitwiseCopyable>: ~Copyable {
    /// First element, aligned to 64 bytes.
    public let base: UnsafeMutablePointer<Element>
    /// Number of elements.
    public let count: Int
    /// Size in bytes of the elements.
    public var bytes: Int { count * MemoryLayout<Element>.stride }

    /// Allocates `count` elements, all bits zero. Throws `AllocationError` when the system refuses or the size
    /// overflows.
    public init(count: Int) throws(AllocationError) {
        precondition(count >= 0, "a buffer cannot have \(count) elements")
        let (size, overflow) = count.multipliedReportingOverflow(by: MemoryLayout<Element>.stride)
        var address: UnsafeMutableRawPointer?
        guard !overflow, size <= Int.max - 64, posix_memalign(&address, 64, max(size, 64)) == 0, let address
        else { throw AllocationError(bytes: overflow ? Int.max : size) }
        memset(address, 0, max(size, 64))
        self.base = address.bindMemory(to: Element.self, capacity: max(count, 1))
        self.count = count
    }

    deinit { free(base) }

    /// The whole buffer as a vector.
    public var vector: VectorView<Element> { VectorView(base: base, count: count) }
}
