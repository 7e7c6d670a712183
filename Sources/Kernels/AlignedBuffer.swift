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

    /// Size in bytes of the memory that it takes, in whole pages.
    public let mapped: Int

    /// As x86-64 has them.
    private static var hugePageBytes: Int { 2 << 20 }

    /// Allocates `count` elements, all bits zero. Throws `AllocationError` when the system refuses or the size
    /// overflows.
    ///
    /// - Parameter inHugePages: whether its end, too, lies in a huge page, the rest of which is resident and empty.
    public init(count: Int, inHugePages: Bool = false) throws(AllocationError) {
        precondition(count >= 0, "a buffer cannot have \(count) elements")
        let (size, overflow) = count.multipliedReportingOverflow(by: MemoryLayout<Element>.stride)
        // No system has half of all addresses; below, rounding up cannot overflow.
        let page = inHugePages ? Self.hugePageBytes : 4096
        let mapped = size <= Int.max / 2 ? max(page, (size + page - 1) / page * page) : Int.max
        guard !overflow, mapped < Int.max, let address = Self.pages(mapped) else {
            throw AllocationError(bytes: overflow ? Int.max : size)
        }
        self.base = address.bindMemory(to: Element.self, capacity: max(count, 1))
        self.count = count
        self.mapped = mapped
    }

    /// Pages of its own instead of the C library's heap, which keeps what is freed; nil when the system refuses.
    ///
    /// Huge ones where the system has them to give: ranks of a host read each other's memory page by page to sum
    /// gradients, which was 2.5 to 5 times as fast with pages of 2 MiB as with 4 KiB (Open MPI 4.1, Zen 5).
    private static func pages(_ length: Int) -> UnsafeMutableRawPointer? {
        let (page, huge) = (4096, hugePageBytes)
        let spare = length >= huge ? huge : 0
        let start = mmap(nil, length + spare, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        guard let start, start != MAP_FAILED else { return nil }
        guard spare > 0 else {
            touch(start, length, page)
            return start
        }
        let head = (huge - Int(bitPattern: start) % huge) % huge
        let base = start + head
        if head > 0 { munmap(start, head) }
        if spare > head { munmap(base + length, spare - head) }
        madvise(base, length, MADV_HUGEPAGE)
        touch(base, length, page)
        return base
    }

    /// Makes pages resident, so that no step waits for a page fault.
    private static func touch(_ base: UnsafeMutableRawPointer, _ length: Int, _ page: Int) {
        for offset in stride(from: 0, to: length, by: page) {
            base.storeBytes(of: 0, toByteOffset: offset, as: UInt8.self)
        }
    }

    deinit { munmap(base, mapped) }

    /// The whole buffer as a vector.
    public var vector: VectorView<Element> { VectorView(base: base, count: count) }
}
