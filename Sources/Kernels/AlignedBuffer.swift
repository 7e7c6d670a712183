import Glibc

/// An allocation that the system refused.
public struct AllocationError: Error, CustomStringConvertible {
    /// What was asked for, in bytes.
    public let bytes: Int
    public var description: String {
        "cannot allocate \(bytes) bytes (\(bytes >> 20) MiB): the system refused; a smaller model, "
            + "micro-batch or number of ranks per node needs less"
    }
}

/// Owning, zero-initialized storage for `count` elements, aligned to 64 bytes and more: pages of its own, resident from
/// the start, and given back to the system at the end.
///
/// Views of it (`MatrixView`, `VectorView`) do not keep it alive: whoever holds the buffer outlives the views.
public struct AlignedBuffer<Element: BitwiseCopyable>: ~Copyable {
    /// First element, aligned to a page.
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
        // Pages of its own instead of the C library's heap, which keeps what is freed; MAP_POPULATE so that no step
        // waits for a page fault.
        let address =
            overflow
            ? MAP_FAILED
            : mmap(
                nil, max(size, 1), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0)
        guard let address, address != MAP_FAILED else {
            throw AllocationError(bytes: overflow ? Int.max : size)
        }
        self.base = address.bindMemory(to: Element.self, capacity: max(count, 1))
        self.count = count
    }

    deinit { munmap(base, max(bytes, 1)) }

    /// The whole buffer as a vector.
    public var vector: VectorView<Element> { VectorView(base: base, count: count) }
}
